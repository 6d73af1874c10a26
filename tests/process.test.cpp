#include <sincpro/async_worker/worker.hpp>

#if !defined(_WIN32)

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/events.hpp"
#include "support/sanitizers.hpp"

// What only whole processes show. Each scenario is a function of that name in process/scenarios.cpp.

namespace {

using namespace std::chrono_literals;
using support::child_process;
using support::ended_process;

/// Starts the scenario, waits for its end, and checks that it printed nothing and has this exit code.
ended_process ends_with(int exit_code, const std::string& scenario) {
    INFO(scenario);
    child_process process({PROCESS_SCENARIOS, scenario});
    const auto ended = process.wait(support::patience + 20s);  // it may have to tell what it waited for in vain
    CHECK(ended.in_time);
    CHECK(ended.signal == 0);
    CHECK(ended.exit_code == exit_code);
    CHECK(ended.out == "");
    CHECK(ended.err == "");
    return ended;
}

}  // namespace

TEST_CASE("the first call starts the worker thread once, however many threads call at the same time") {
    for (int round = 0; round < 10; ++round) {
        ends_with(0, "first_call_by_many_threads");
    }
}

TEST_CASE("a process that does not use a worker has no thread of it") { ends_with(3, "nothing_is_started_unasked"); }

// Exit

TEST_CASE("a process that used the worker ends with its own exit code") {
    ends_with(5, "exit_idle");
    ends_with(5, "exit_after_shutdown");
}

TEST_CASE("suspended tasks have unwound at exit before older objects are destroyed") {
    ends_with(6, "exit_with_suspended_tasks");
}

TEST_CASE("a process with a task that never ends exits after shutdown_grace") {
    ends_with(7, "exit_with_blocked_task");
    ends_with(8, "exit_with_endless_task");
    ends_with(10, "exit_with_endless_function");
    const auto ended = ends_with(9, "exit_with_all_kinds_of_tasks_and_default_options");
    CHECK(ended.took >= 1900ms);
}

TEST_CASE("exit in a task neither waits for the task nor terminates, and keeps the exit code") {
    ends_with(11, "exit_in_a_task");
    ends_with(12, "exit_in_a_callable");
    ends_with(13, "exit_in_a_task_while_main_does_something_else");
    ends_with(14, "exit_in_a_task_with_others_suspended");
    ends_with(15, "exit_in_a_task_of_another_worker");
    ends_with(16, "exit_in_a_function_of_to_thread");
}

TEST_CASE("threads that are blocked in run are released at exit") {
    ends_with(17, "exit_releases_threads_that_are_blocked");
    ends_with(18, "exit_in_a_task_releases_threads_that_are_blocked");
}

TEST_CASE("the main thread is not released from run when another thread calls exit") {
    ends_with(19, "exit_in_another_thread_leaves_main_blocked");
    ends_with(20, "exit_in_another_thread_leaves_main_blocked_with_a_timeout");
    ends_with(22, "exit_in_another_thread_leaves_main_blocked_beyond_its_deadline");
}

TEST_CASE("threads that go on calling while the process exits end with worker_stopped") {
    for (int round = 0; round < 5; ++round) {
        ends_with(21, "exit_while_threads_go_on_calling");
    }
}

TEST_CASE("a call after exit throws worker_stopped") {
    ends_with(22, "call_after_exit");
    ends_with(23, "first_call_after_exit");
}

TEST_CASE("objects that are constructed after the first use may call in their destructors") {
    ends_with(24, "call_in_a_later_static");
    ends_with(25, "call_in_atexit");
}

TEST_CASE("a future may be read after exit has shut the worker down") { ends_with(26, "future_read_after_exit"); }

TEST_CASE("a static worker is shut down like the default one") { ends_with(27, "static_worker"); }

TEST_CASE("nothing is printed") {
    ends_with(28, "unobserved_failures");
    ends_with(29, "timeouts");
}

// Signals

TEST_CASE("a signal ends a process that is blocked in run, as any other process") {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        INFO("signal " << signal);
        child_process process({PROCESS_SCENARIOS, "waits_for_a_signal"});
        REQUIRE(process.prints("ready", support::patience));
        process.send(signal);
        const auto ended = process.wait(support::patience);
        CHECK(ended.in_time);
        CHECK(ended.signal == signal);
        CHECK(ended.err == "");
    }
}

TEST_CASE("a signal is handled while the process is blocked in run") {
    child_process process({PROCESS_SCENARIOS, "handles_a_signal"});
    REQUIRE(process.prints("ready", support::patience));
    process.send(SIGUSR1);
    const auto ended = process.wait(support::patience);
    CHECK(ended.in_time);
    CHECK(ended.exit_code == 30);
    CHECK(ended.err == "");
}

// Fork

namespace {

void forks(const std::string& scenario) {
    if constexpr (support::fork_is_testable) {
        ends_with(0, scenario);
    } else {
        WARN("not with the sanitizers of GCC: " << scenario);
    }
}

/// Where a thread ends AddressSanitizer takes a lock (of Quarantine::Drain) which a fork copies as it is, so the child may
/// hang when a thread of its own ends.
[[maybe_unused]] void threads_end_and_it_forks(const std::string& scenario) {
    if constexpr (TESTS_WITH_ADDRESS_SANITIZER) {
        WARN("not with AddressSanitizer: " << scenario);
    } else {
        forks(scenario);
    }
}

}  // namespace

TEST_CASE("in the child of a fork every worker is not started, and its first call starts a new thread") {
    forks("fork_before_use");
    forks("fork_idle");
    forks("fork_of_a_fork");
    forks("fork_with_other_workers");
}

TEST_CASE("the child of a fork may exit and destroy its workers") {
    forks("fork_and_exit_in_the_child");
    forks("fork_destroys_workers_in_the_child");
}

TEST_CASE("a fork leaves the parent undisturbed") { forks("fork_leaves_waiting_tasks_of_the_parent_alone"); }

TEST_CASE("in the child of a fork no permit goes to a task of the parent") { forks("fork_with_a_waiter_for_a_permit"); }

// Not under ThreadSanitizer: its runtime takes locks where a thread starts and ends which a fork copies as they are, so the
// child of a process that starts threads meanwhile hangs or dies in its pthread_create.
#if !SINCPRO_DETAIL_TSAN
TEST_CASE("a busy process may fork at any time") {
    forks("fork_many_times_while_busy");
    forks("fork_during_the_first_call");
    threads_end_and_it_forks("fork_while_workers_start_and_stop");
}

TEST_CASE("in the child of a fork every future of a task that had not ended throws worker_stopped") {
    forks("fork_while_tasks_end");
    threads_end_and_it_forks("fork_while_a_worker_is_destroyed");
}

TEST_CASE("a fork waits for no code of the user's") { forks("fork_while_results_ask_the_worker"); }
#endif

TEST_CASE("a task may fork") {
    forks("fork_in_a_task");
    forks("fork_in_a_task_and_call");
    forks("fork_in_a_task_that_another_library_runs");
}

TEST_CASE("in the child that a task or a function forks the signals are those of the thread that started the worker") {
    forks("fork_in_a_task_leaves_a_child_that_signals_end");
}

// Threads that end

TEST_CASE("when a caller is cancelled while it waits its task has ended before the caller's locals go") {
    ends_with(0, "a_blocked_caller_is_cancelled");
}

TEST_CASE("a function of to_thread may end its thread, and its task gets broken_promise") {
    ends_with(0, "a_function_ends_its_thread");
}

TEST_CASE("a worker that is being destroyed takes nothing") {
    for (int round = 0; round < 5; ++round) ends_with(0, "a_worker_that_is_destroyed_takes_nothing");
}

TEST_CASE("the first call may be in a constructor of a library that is being loaded") {
    ends_with(34, "a_library_calls_while_it_is_loaded");
}

// Surroundings

TEST_CASE("a worker may be shut down where its thread ends, while another thread does it too") {
    ends_with(0, "shutdown_where_the_worker_thread_ends");
}

#if defined(__linux__)
TEST_CASE("descriptors are waited for where a filter of system calls refuses the newest way to wait") {
    ends_with(0, "a_filter_refuses_what_it_does_not_know");
}
#endif

#endif
