// What happens to a process that uses the library: process.test.cpp starts this with the name of a scenario. A scenario
// that goes as it should prints nothing; one that does not says why on standard error.

#include <sincpro/async_worker.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/owned_coroutine.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"

#if !defined(_WIN32)
#include <cerrno>
#include <csignal>

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

namespace {

using namespace std::chrono_literals;
using sincpro::default_worker;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::task_future;
using sincpro::timeout_error;
using sincpro::worker;
using sincpro::worker_stopped;
using sincpro::yield;
using support::arrivals;
using support::counted;
using support::gate;
using support::lifetimes;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::fflush(stderr);
    ::_exit(90);
}

void check(bool holds, const std::string& what) {
    if (!holds) {
        fail(what);
    }
}

/// What the call ended with, as a word.
template <class F>
std::string outcome_of(F&& call) {
    try {
        (void)call();
        return "value";
    } catch (const worker_stopped&) {
        return "worker_stopped";
    } catch (const operation_cancelled&) {
        return "operation_cancelled";
    } catch (const std::exception& error) {
        return error.what();
    }
}

/// Constructed before any scenario, so that it is destroyed after the default worker has been shut down.
class last_words {
public:
    ~last_words() {
        if (say) {
            say();
        }
    }
    std::function<void()> say;
};
last_words before_the_worker;

task<int> gives(int value) {
    co_await yield();
    co_return value;
}

task<int> sleeps_and_gives(std::chrono::milliseconds time, int value) {
    co_await sleep_for(time);
    co_return value;
}

task<int> waits(arrivals begun, [[maybe_unused]] counted object) {
    begun.arrive();
    co_await sleep_for(24h);
    co_return 0;
}

task<> blocks_for_ever(gate begun) {
    begun.open();
    for (;;) {
        ::pause();
    }
    co_return;
}

task<> swallows_for_ever(gate begun) {
    begun.open();
    for (;;) {
        try {
            co_await sleep_for(1ms);
        } catch (const operation_cancelled&) {
        }
    }
}

task<> fails() {
    co_await yield();
    throw std::runtime_error("nobody reads this");
}

task<> exits(int code) {
    co_await yield();
    std::exit(code);
}

task<std::int64_t> thread_of_task() { co_return support::this_thread_number(); }

// First call

int first_call_by_many_threads() {
    const gate all_at_once;
    std::vector<std::int64_t> ran_on(16, 0);
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < ran_on.size(); ++i) {
        callers.emplace_back([&, i] {
            all_at_once.wait();
            ran_on[i] = i % 3 == 0 ? submit_async_task(thread_of_task()).get() : run_async_task(thread_of_task());
        });
    }
    all_at_once.open();
    for (auto& caller : callers) {
        caller.join();
    }
    check(ran_on == std::vector<std::int64_t>(ran_on.size(), ran_on[0]), "they did not run on one thread");
#if defined(__linux__)
    check(support::threads_named("async-worker").size() == 1, "more than one thread was started");
#endif
    return 0;
}

int nothing_is_started_unasked() {
    check(!default_worker().is_running(), "the default worker runs before it is used");
    worker another;
#if defined(__linux__)
    check(support::threads_named("async-worker").empty(), "a thread was started");
#endif
    return 3;
}

// Exit

int exit_idle() {
    check(run_async_task(gives(4)) == 4, "wrong result");
    return 5;
}

int exit_after_shutdown() {
    check(run_async_task(gives(4)) == 4, "wrong result");
    default_worker().shutdown();
    return 5;
}

int exit_with_suspended_tasks() {
    static const lifetimes log;
    static const arrivals begun;
    before_the_worker.say = [frames = log] { check(frames.alive() == 0, "a frame outlived the worker"); };
    for (int i = 0; i < 10; ++i) {
        const auto dropped = submit_async_task(waits(begun, counted(log)));
    }
    static auto kept = submit_async_task(waits(begun, counted(log)));
    begun.wait(11);
    return 6;
}

int exit_with_blocked_task() {
    const gate begun;
    default_worker().configure({.shutdown_grace = 100ms});
    const auto dropped = submit_async_task(blocks_for_ever(begun));
    begun.wait();
    return 7;
}

int exit_with_endless_task() {
    const gate begun;
    default_worker().configure({.shutdown_grace = 100ms});
    const auto dropped = submit_async_task(swallows_for_ever(begun));
    begun.wait();
    return 8;
}

int exit_with_all_kinds_of_tasks_and_default_options() {
    const lifetimes log;
    const arrivals suspended;
    const auto first = submit_async_task(waits(suspended, counted(log)));
    suspended.wait(1);
    const gate endless, blocked;
    const auto second = submit_async_task(swallows_for_ever(endless));
    endless.wait();
    const auto third = submit_async_task(blocks_for_ever(blocked));
    blocked.wait();
    const auto not_begun = submit_async_task(gives(1));
    return 9;
}

int exit_with_endless_function() {
    const gate begun;
    default_worker().configure({.shutdown_grace = 100ms});
    const auto dropped = submit_async_task([=]() -> task<> {
        co_await sincpro::to_thread(
            [](gate has_begun) {
                has_begun.open();
                for (;;) {
                    ::pause();
                }
            },
            begun);
    });
    begun.wait();
    return 10;
}

int exit_in_a_task() {
    default_worker().configure({.shutdown_grace = 10min});
    run_async_task(exits(11));
    fail("run returned");
}

int exit_in_a_callable() {
    default_worker().configure({.shutdown_grace = 10min});
    run_async_task([]() -> task<> { std::exit(12); }, 24h);
    fail("run returned");
}

int exit_in_a_task_while_main_does_something_else() {
    default_worker().configure({.shutdown_grace = 10min});
    const auto dropped = submit_async_task(exits(13));
    for (;;) {
        ::pause();
    }
}

int exit_in_a_task_with_others_suspended() {
    const lifetimes log;
    const arrivals begun;
    default_worker().configure({.shutdown_grace = 10min});
    for (int i = 0; i < 10; ++i) {
        const auto dropped = submit_async_task(waits(begun, counted(log)));
    }
    begun.wait(10);
    run_async_task(exits(14));
    fail("run returned");
}

int exit_in_a_task_of_another_worker() {
    static worker own({.shutdown_grace = 10min});
    check(run_async_task(gives(1)) == 1, "wrong result");
    own.run(exits(15));
    fail("run returned");
}

int exit_in_a_function_of_to_thread() {
    default_worker().configure({.shutdown_grace = 100ms});
    run_async_task([]() -> task<> { co_await sincpro::to_thread([] { std::exit(16); }); });
    fail("run returned");
}

/// Threads that are blocked in run(), and an end of the process that waits until each of them has been released.
void block_threads(int count) {
    static const arrivals begun, released;
    static const lifetimes log;
    before_the_worker.say = [count, those = released] {
        check(those.wait_for(static_cast<std::size_t>(count)), "a thread is still blocked in run");
    };
    for (int i = 0; i < count; ++i) {
        std::thread([i] {
            const auto outcome = outcome_of([&] {
                return i % 2 == 0 ? run_async_task(waits(begun, counted(log)))
                                  : run_async_task(waits(begun, counted(log)), 24h);
            });
            check(outcome == "operation_cancelled" || outcome == "worker_stopped",
                  "a thread was released with " + outcome);
            released.arrive();
            // Goes nowhere, as the process ends: what it returned to may be gone.
            for (;;) {
                ::pause();
            }
        }).detach();
    }
    begun.wait(static_cast<std::size_t>(count));
}

int exit_releases_threads_that_are_blocked() {
    block_threads(6);
    return 17;
}

int exit_in_a_task_releases_threads_that_are_blocked() {
    default_worker().configure({.shutdown_grace = 10min});
    block_threads(6);
    run_async_task(exits(18));
    fail("run returned");
}

int exit_in_another_thread_leaves_main_blocked() {
    static const arrivals begun;
    static const lifetimes log;
    static const gate has_exited;
    before_the_worker.say = [] { std::this_thread::sleep_for(300ms); };
    std::thread([] {
        begun.wait(1);
        std::exit(19);
    }).detach();
    const auto outcome = outcome_of([&] { return run_async_task(waits(begun, counted(log))); });
    fail("the main thread went on, with " + outcome);
}

int exit_in_another_thread_leaves_main_blocked_with_a_timeout() {
    static const arrivals begun;
    static const lifetimes log;
    before_the_worker.say = [] { std::this_thread::sleep_for(300ms); };
    std::thread([] {
        begun.wait(1);
        std::exit(20);
    }).detach();
    const auto outcome = outcome_of([&] { return run_async_task(waits(begun, counted(log)), 24h); });
    fail("the main thread went on, with " + outcome);
}

int exit_in_another_thread_leaves_main_blocked_beyond_its_deadline() {
    static const arrivals begun;
    static std::atomic<bool> exits{false};
    struct coroutines {
        static task<> block(arrivals reached) {
            reached.arrive();
            std::this_thread::sleep_for(24h);
            co_return;
        }
    };
    default_worker().configure({.shutdown_grace = 1500ms});
    std::thread([] {
        begun.wait(1);
        exits.store(true);
        std::exit(22);
    }).detach();
    const auto outcome = outcome_of([&] { run_async_task(coroutines::block(begun), 500ms); });
    if (!exits.load()) std::this_thread::sleep_for(24h);  // its time was over before the exit began
    fail("the main thread went on, with " + outcome);
}

int exit_while_threads_go_on_calling() {
    static const arrivals begun, ended;
    before_the_worker.say = [those = ended] { check(those.wait_for(4), "a thread still calls"); };
    for (int caller = 0; caller < 4; ++caller) {
        std::thread([caller] {
            begun.arrive();
            for (int i = 0;; ++i) {
                const auto outcome = outcome_of([&] {
                    return (caller + i) % 2 == 0 ? run_async_task(gives(i)) : submit_async_task(gives(i)).get();
                });
                if (outcome == "worker_stopped") {
                    break;
                }
                check(outcome == "value" || outcome == "operation_cancelled", outcome);
            }
            ended.arrive();
            for (;;) {
                ::pause();
            }
        }).detach();
    }
    begun.wait(4);
    std::this_thread::sleep_for(20ms);
    return 21;
}

int call_after_exit() {
    before_the_worker.say = [] {
        const lifetimes log;
        const arrivals begun;
        check(!default_worker().is_running(), "the default worker still runs");
        check(outcome_of([&] { return run_async_task(waits(begun, counted(log))); }) == "worker_stopped", "run");
        check(outcome_of([&] { return run_async_task(waits(begun, counted(log)), 1s); }) == "worker_stopped",
              "run with a timeout");
        check(outcome_of([&] { return submit_async_task(waits(begun, counted(log))).get(); }) == "worker_stopped",
              "submit");
        check(
            outcome_of([&] { return run_async_task([&] { return waits(begun, counted(log)); }); }) == "worker_stopped",
            "run of a callable");
        check(outcome_of([&] { return (default_worker().start(), 0); }) == "worker_stopped", "start");
        check(begun.count() == 0, "a task was started");
        check(log.alive() == 0, "a frame leaked");
        default_worker().shutdown();
    };
    check(run_async_task(gives(1)) == 1, "wrong result");
    return 22;
}

/// The same where the worker was never used before.
int first_call_after_exit() {
    before_the_worker.say = [] {
        const auto outcome = outcome_of([] { return run_async_task(gives(1)); });
        check(outcome == "value" || outcome == "worker_stopped", outcome);
    };
    return 23;
}

int call_in_a_later_static() {
    struct calls_when_it_dies {
        ~calls_when_it_dies() { check(run_async_task(gives(7), 60s) == 7, "wrong result"); }
    };
    check(run_async_task(gives(1)) == 1, "wrong result");
    static const calls_when_it_dies later;
    return 24;
}

int call_in_atexit() {
    check(run_async_task(gives(1)) == 1, "wrong result");
    check(std::atexit([] { check(run_async_task(gives(7)) == 7, "wrong result"); }) == 0, "atexit");
    return 25;
}

int future_read_after_exit() {
    static std::optional<task_future<int>>* const suspended = new std::optional<task_future<int>>;
    static std::optional<task_future<int>>* const ended = new std::optional<task_future<int>>;
    static const lifetimes log;
    static const arrivals begun;
    before_the_worker.say = [] {
        check(outcome_of([] { return (*suspended)->get(); }) == "operation_cancelled",
              "the future of a suspended task");
        check(outcome_of([] { return (*ended)->get(); }) == "value", "the future of a task that has ended");
        (*suspended)->cancel();
        delete suspended;
        delete ended;
    };
    *suspended = submit_async_task(waits(begun, counted(log)));
    *ended = submit_async_task(gives(1));
    (*ended)->wait();
    begun.wait(1);
    return 26;
}

int static_worker() {
    static worker own({.name = "own"});
    static const lifetimes log;
    static const arrivals begun;
    before_the_worker.say = [frames = log] { check(frames.alive() == 0, "a frame outlived its worker"); };
    const auto dropped = own.submit(waits(begun, counted(log)));
    begun.wait(1);
    check(run_async_task(gives(2)) == 2, "wrong result");
    return 27;
}

int unobserved_failures() {
    worker own;
    for (int i = 0; i < 10; ++i) {
        const auto dropped = submit_async_task(fails());
        const auto dropped_too = own.submit(fails());
    }
    check(run_async_task(gives(2)) == 2, "wrong result");
    try {
        run_async_task(fails());
    } catch (const std::runtime_error&) {
        return 28;
    }
    fail("no exception");
}

int timeouts() {
    for (int i = 0; i < 10; ++i) {
        try {
            run_async_task(sleeps_and_gives(24h, 1), 1ms);
            fail("no timeout");
        } catch (const timeout_error&) {
        }
    }
    return 29;
}

/// Blocked in run() until a signal ends the process.
int waits_for_a_signal() {
    run_async_task([]() -> task<> {
        std::puts("ready");
        std::fflush(stdout);
        co_await sleep_for(24h);
    });
    fail("run returned");
}

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

/// Blocked in run() while a signal is handled.
int handles_a_signal() {
    std::signal(SIGUSR1, [](int) { interrupted = true; });
    run_async_task([]() -> task<> {
        std::puts("ready");
        std::fflush(stdout);
        while (!interrupted) {
            co_await sleep_for(1ms);
        }
    });
    return 30;
}

// Fork

/// Forks, and calls `in_child` in the child, which then ends without any clean-up, with what that returns.
template <class F>
pid_t fork_child(F&& in_child) {
    const pid_t child = ::fork();
    check(child >= 0, "fork");
    if (child == 0) {
        ::alarm(2 * static_cast<unsigned>(support::patience.count()));  // it may be left alone, if its parent hangs
        ::_exit(in_child());
    }
    return child;
}

int wait_for_child(pid_t child) {
    check(child > 0, "fork");
    const auto give_up = std::chrono::steady_clock::now() + support::patience;
    int status = 0;
    for (;;) {
        const pid_t ended = ::waitpid(child, &status, WNOHANG);
        if (ended == child) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        }
        if (std::chrono::steady_clock::now() > give_up) {
            ::kill(child, SIGKILL);
            ::waitpid(child, &status, 0);
            fail("a child of fork hangs");
        }
        std::this_thread::sleep_for(1ms);
    }
}

/// Everything that a fresh process can do.
int works_in_child() {
    check(!default_worker().is_running(), "the worker runs in the child");
    check(run_async_task(gives(3)) == 3, "run in the child");
    check(default_worker().is_running(), "the worker does not run in the child");
    check(run_async_task(sleeps_and_gives(2ms, 4), 60s) == 4, "run with a timeout in the child");
    check(submit_async_task(gives(5)).get() == 5, "submit in the child");
    check(run_async_task(support::resumes_on_new_thread<int>(6)) == 6, "another thread in the child");
    int ends[2];
    check(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe in the child");
    auto reader = submit_async_task([&]() -> task<> { co_await sincpro::wait_readable(ends[0]); });
    run_async_task(sleep_for(1ms));
    check(::write(ends[1], "x", 1) == 1, "write in the child");
    check(reader.wait_for(support::patience) == std::future_status::ready, "waiting for a descriptor in the child");
    default_worker().shutdown();
    check(run_async_task(gives(7)) == 7, "restart in the child");
    return 0;
}

int fork_before_use() {
    check(wait_for_child(fork_child(works_in_child)) == 0, "child");
    check(run_async_task(gives(3)) == 3, "parent");
    return 0;
}

int fork_idle() {
    const auto without_a_worker = support::open_descriptors();
    check(run_async_task(gives(3)) == 3, "parent before");
    const auto keeps_no_descriptor = [&] { return support::open_descriptors() == without_a_worker ? 0 : 1; };
    check(wait_for_child(fork_child(keeps_no_descriptor)) == 0, "the child has descriptors of the parent's worker");
    const auto thread = run_async_task(thread_of_task());
    check(wait_for_child(fork_child(works_in_child)) == 0, "child");
    check(default_worker().is_running(), "the parent's worker does not run");
    check(run_async_task(thread_of_task()) == thread, "the parent's worker is another thread");
    check(run_async_task(sleeps_and_gives(2ms, 4), 60s) == 4, "parent after");
    return 0;
}

int fork_and_exit_in_the_child() {
    check(run_async_task(gives(3)) == 3, "parent before");
    pid_t child = ::fork();
    if (child == 0) {
        std::exit(5);  // a worker that is not started
    }
    check(wait_for_child(child) == 5, "exit of a child that did not use its worker");
    child = ::fork();
    if (child == 0) {
        check(run_async_task(gives(4)) == 4, "child");
        std::exit(6);
    }
    check(wait_for_child(child) == 6, "exit of a child that used its worker");
    child = ::fork();
    if (child == 0) {
        run_async_task(exits(7));
        fail("run returned");
    }
    check(wait_for_child(child) == 7, "exit in a task of a child");
    check(run_async_task(gives(5)) == 5, "parent after");
    return 0;
}

int fork_of_a_fork() {
    check(run_async_task(gives(3)) == 3, "parent");
    check(wait_for_child(fork_child([] {
              check(run_async_task(gives(4)) == 4, "child");
              check(wait_for_child(fork_child(works_in_child)) == 0, "grandchild");
              check(run_async_task(gives(5)) == 5, "child after");
              return 0;
          })) == 0,
          "child");
    return 0;
}

int fork_with_other_workers() {
    worker idle, used({.name = "used"}), busy({.name = "busy"});
    const lifetimes log;
    const arrivals begun;
    check(used.run(gives(1)) == 1, "parent");
    auto future = busy.submit(waits(begun, counted(log)));
    begun.wait(1);
    check(wait_for_child(fork_child([&] {
              check(!used.is_running() && !busy.is_running(), "a worker runs in the child");
              used.configure({.name = "renamed"});
              check(used.run(gives(2)) == 2, "child, a worker that was used");
              check(busy.run(gives(3)) == 3, "child, a worker that was busy");
              check(idle.run(gives(4)) == 4, "child, a worker that was idle");
              check(run_async_task(gives(5)) == 5, "child, the default worker");
              busy.shutdown();
              check(!busy.is_running(), "shutdown in the child");
              return 0;
          })) == 0,
          "child");
    check(used.is_running() && busy.is_running(), "a worker of the parent stopped");
    future.cancel();
    check(outcome_of([&] { return future.get(); }) == "operation_cancelled", "parent after");
    return 0;
}

int fork_destroys_workers_in_the_child() {
    auto own = std::make_unique<worker>();
    const lifetimes log;
    const arrivals begun;
    auto future = own->submit(waits(begun, counted(log)));
    begun.wait(1);
    check(wait_for_child(fork_child([&] {
              own.reset();
              worker fresh;
              check(fresh.run(gives(1)) == 1, "child");
              return 0;
          })) == 0,
          "child");
    future.cancel();
    check(outcome_of([&] { return future.get(); }) == "operation_cancelled", "parent");
    check(own->run(gives(2)) == 2, "parent after");
    return 0;
}

int fork_leaves_waiting_tasks_of_the_parent_alone() {
    int ends[2];
    check(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, "pipe");
    auto sleeper = submit_async_task(sleeps_and_gives(300ms, 8));
    const gate waiting;
    auto reader = submit_async_task([&]() -> task<char> {
        char byte = 0;
        waiting.open();
        while (::read(ends[0], &byte, 1) != 1) {
            co_await sincpro::wait_readable(ends[0]);
        }
        co_return byte;
    });
    waiting.wait();
    check(run_async_task(gives(1)) == 1, "parent before");
    for (int round = 0; round < 3; ++round) {
        check(wait_for_child(fork_child(works_in_child)) == 0, "child");
        const pid_t child = ::fork();
        if (child == 0) {
            std::exit(run_async_task(gives(4)));
        }
        check(wait_for_child(child) == 4, "child that exits");
    }
    check(sleeper.get() == 8, "the sleeper of the parent");
    check(reader.wait_for(0s) == std::future_status::timeout, "the reader of the parent was resumed");
    check(::write(ends[1], "x", 1) == 1, "write");
    check(reader.get() == 'x', "the reader of the parent");
    return 0;
}

int fork_many_times_while_busy() {
    worker other({.name = "other"});
    std::atomic<bool> done = false;
    std::atomic<int> surprises = 0;
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller) {
        callers.emplace_back([&, caller] {
            for (int i = 0; !done; ++i) {
                int result = -1;
                switch ((caller + i) % 4) {
                    case 0: result = run_async_task(gives(i)); break;
                    case 1: result = run_async_task(sleeps_and_gives(1ms, i), 60s); break;
                    case 2: result = submit_async_task(gives(i)).get(); break;
                    default: result = other.run(gives(i)); break;
                }
                if (result != i) {
                    ++surprises;
                }
            }
        });
    }
    for (int round = 0; round < 100; ++round) {
        check(wait_for_child(fork_child([&] {
                  check(!default_worker().is_running() && !other.is_running(), "a worker runs in the child");
                  check(run_async_task(gives(3)) == 3, "child");
                  check(other.run(sleeps_and_gives(1ms, 4), 60s) == 4, "child, other worker");
                  return 0;
              })) == 0,
              "child");
    }
    done = true;
    for (auto& caller : callers) {
        caller.join();
    }
    check(surprises == 0, "the parent was disturbed");
    return 0;
}

int fork_while_workers_start_and_stop() {
    std::atomic<bool> done = false;
    worker own;
    std::thread restarts([&] {
        while (!done) {
            check(own.run(gives(1)) == 1, "parent");
            own.shutdown();
            worker brief;
            check(brief.run(gives(2)) == 2, "parent, a brief worker");
        }
    });
    for (int round = 0; round < 100; ++round) {
        check(wait_for_child(fork_child([&] {
                  check(own.run(gives(3)) == 3, "child");
                  worker fresh;
                  check(fresh.run(gives(4)) == 4, "child, a worker of its own");
                  return 0;
              })) == 0,
              "child");
    }
    done = true;
    restarts.join();
    return 0;
}

/// Whatever the worker is about to do with a task when another thread forks, the child's copy of its future ends.
int fork_while_tasks_end() {
    for (int round = 0; round < 300; ++round) {
        std::vector<sincpro::task_future<int>> futures;
        for (int i = 0; i < 300; ++i) {
            futures.push_back(submit_async_task(gives(i)));
        }
        check(wait_for_child(fork_child([&] {
                  for (int i = 0; auto& future : futures) {
                      check(future.wait_for(support::patience / 2) == std::future_status::ready,
                            "a future in the child");
                      try {
                          check(future.get() == i++, "its value");
                      } catch (const sincpro::worker_stopped&) {
                          ++i;
                      }
                  }
                  return 0;
              })) == 0,
              "child");
        for (int i = 0; auto& future : futures) {
            check(future.get() == i++, "a value of the parent");
        }
    }
    return 0;
}

/// The copy of a result is the user's code, which may ask a worker for something while another thread forks.
struct asks_when_copied {
    explicit asks_when_copied(worker& w) : of(&w) {}
    asks_when_copied(const asks_when_copied& other) : of(other.of) {
        check(of->is_running(), "a worker with tasks runs");
    }
    worker* of;
};

int fork_while_results_ask_the_worker() {
    worker own;
    std::atomic<bool> done = false;
    std::thread submits([&] {
        const auto gives_one = [&]() -> task<asks_when_copied> { co_return asks_when_copied(own); };
        while (!done) {
            check(own.submit(gives_one).get().of == &own, "a result");
        }
    });
    for (int round = 0; round < 500; ++round) {
        check(wait_for_child(fork_child([] { return 0; })) == 0, "child");
    }
    done = true;
    submits.join();
    return 0;
}

int fork_while_a_worker_is_destroyed() {
    const gate begun;
    auto own = std::make_unique<worker>();
    auto future = own->submit([&]() -> task<int> {
        try {
            co_await sleep_for(24h);
        } catch (const sincpro::operation_cancelled&) {
            begun.open();
        }
        co_return co_await sincpro::shield(sleeps_and_gives(300ms, 7));
    });
    own->run(sincpro::yield());
    std::thread destroys([&] { own.reset(); });
    begun.wait();
    const int in_child = wait_for_child(fork_child([&] {
        check(future.wait_for(support::patience / 2) == std::future_status::ready, "the future in the child");
        try {
            future.get();
        } catch (const sincpro::worker_stopped&) {
            return 0;
        }
        return 1;
    }));
    destroys.join();
    check(in_child == 0, "child");
    check(future.get() == 7, "parent");
    return 0;
}

std::function<void()> before_fork;

/// A permit must not be lost to a task of the parent that waits for it.
int fork_with_a_waiter_for_a_permit() {
    sincpro::semaphore one(1);
    worker w;
    auto held = std::make_unique<sincpro::semaphore::permit>(w.run(one.acquire()));
    struct coroutines {
        static task<> use(sincpro::semaphore& s) { auto permit = co_await s.acquire(); }
    };
    auto waiting = w.submit(coroutines::use(one));
    w.run(sincpro::yield());
    check(wait_for_child(fork_child([&] {
              held.reset();
              w.run(coroutines::use(one));
              return 0;
          })) == 0,
          "child");
    held.reset();
    waiting.get();
    return 0;
}

/// One thread forks while another makes the very first call of the process.
int fork_during_the_first_call() {
    // Registered before the library's own, so that this is called after that, which may block the first call.
    check(::pthread_atfork([] { before_fork(); }, nullptr, nullptr) == 0, "pthread_atfork");
    const worker registers_handlers;
    const gate about_to_fork, calls;
    before_fork = [&] {
        about_to_fork.open();
        calls.wait();
        std::this_thread::sleep_for(50ms);
    };
    std::thread first([&] {
        about_to_fork.wait();
        calls.open();
        check(run_async_task(gives(3)) == 3, "parent");
    });
    const pid_t child = fork_child([] { return run_async_task(gives(4)); });
    first.join();
    check(wait_for_child(child) == 4, "child");
    check(run_async_task(gives(5)) == 5, "parent after");
    return 0;
}

int fork_in_a_task() {
    const int child_code = run_async_task([]() -> task<int> {
        co_await yield();
        const pid_t child = ::fork();
        check(child >= 0, "fork");
        if (child == 0) {
            ::_exit(31);
        }
        const int code = wait_for_child(child);
        co_await sleep_for(1ms);
        co_return code;
    });
    check(child_code == 31, "child");
    check(run_async_task(gives(5)) == 5, "parent after");
    return 0;
}

/// The child goes on in a task whose worker does not exist there: it is no worker's thread, so it may call.
int fork_in_a_task_and_call() {
    const int child_code = run_async_task([]() -> task<int> {
        const pid_t child = fork_child([] { return run_async_task(gives(32)); });
        co_return wait_for_child(child);
    });
    check(child_code == 32, "child");
    check(run_async_task(gives(5)) == 5, "parent after");
    return 0;
}

/// The child that a task or a function of to_thread forks gets the signals that the thread got which started the worker.
int fork_in_a_task_leaves_a_child_that_signals_end() {
    const auto ended_by_a_signal = [] {
        const pid_t child = ::fork();
        check(child >= 0, "fork");
        if (child == 0) {
            for (;;) ::pause();
        }
        ::kill(child, SIGTERM);
        int status = 0;
        check(::waitpid(child, &status, 0) == child, "waitpid");
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
    };
    ::alarm(60);
    check(run_async_task([&]() -> task<bool> {
              co_await yield();
              co_return ended_by_a_signal();
          }),
          "forked by a task");
    check(run_async_task(sincpro::to_thread(ended_by_a_signal)), "forked by a function");

    sigset_t own, before;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    ::pthread_sigmask(SIG_SETMASK, &own, &before);
    worker started_with_a_mask;
    started_with_a_mask.start();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    const int child_code = started_with_a_mask.run([]() -> task<int> {
        const pid_t child = fork_child([] {
            sigset_t now;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
            return 40 + 2 * sigismember(&now, SIGUSR1) + sigismember(&now, SIGTERM);
        });
        co_return wait_for_child(child);
    });
    check(child_code == 42, "the mask of the thread that started the worker");
    return 0;
}

/// A thread that waits in run() is cancelled: its task has ended when the locals that it refers to go.
int a_blocked_caller_is_cancelled() {
    static std::atomic<int> alive{0};
    static std::atomic<bool> task_ended{false}, ended_in_time{false};
    static std::atomic<bool> with_a_timeout{false};
    static std::optional<gate> begun;
    struct coroutines {
        static task<> refers_to(int& local) {
            struct end {
                ~end() { task_ended = true; }
            };
            const end at_the_end;
            begun->open();
            for (;;) {
                co_await sleep_for(1ms);
                ++local;
            }
        }
        static void* caller(void*) {
            struct locals {
                locals() { ++alive; }
                ~locals() {
                    ended_in_time = task_ended.load();
                    --alive;
                }
                int value = 0;
            };
            locals mine;
            if (with_a_timeout) {
                run_async_task(refers_to(mine.value), 1h);
            } else {
                run_async_task(refers_to(mine.value));
            }
            return nullptr;
        }
    };
    for (const bool timeout : {false, true}) {
        begun.emplace();
        task_ended = ended_in_time = false;
        with_a_timeout = timeout;
        pthread_t thread;
        check(::pthread_create(&thread, nullptr, coroutines::caller, nullptr) == 0, "pthread_create");
        begun->wait();
        ::pthread_cancel(thread);
        void* how = nullptr;
        ::pthread_join(thread, &how);
        check(how == PTHREAD_CANCELED, "the caller was cancelled");
        check(alive == 0, "the caller was unwound");
        check(ended_in_time, "the task had ended before");
    }
    check(run_async_task(gives(5)) == 5, "the worker goes on");

    // To wake an idle worker takes a system call that would unwind the stack where nothing may be thrown.
    std::thread pending([] {
        ::pthread_cancel(::pthread_self());
        for (int i = 0; i < 20; ++i) {
            const auto later = std::chrono::steady_clock::now() + 2ms;
            while (std::chrono::steady_clock::now() < later) {  // the worker goes to sleep
            }
            submit_async_task(gives(i));
        }
    });
    pending.join();
    check(run_async_task(gives(6)) == 6, "the worker goes on after that");
    return 0;
}

/// A function of to_thread may end its thread, in whatever way.
int a_function_ends_its_thread() {
    const auto told = [](void (*f)()) {
        try {
            run_async_task(sincpro::to_thread(f), 60s);
        } catch (const std::future_error& error) {
            return error.code() == std::future_errc::broken_promise;
        }
        return false;
    };
    check(told([] { ::pthread_exit(nullptr); }), "pthread_exit");
#if !TESTS_WITH_THREAD_SANITIZER  // which loses track of a thread that is cancelled inside of a system call
    check(told([] {
              ::pthread_cancel(::pthread_self());
              for (;;) ::pause();
          }),
          "pthread_cancel");
#endif
    const lifetimes log;
    const auto exits = [](const counted&) { ::pthread_exit(nullptr); };
    check(outcome_of([&] { return (run_async_task(sincpro::to_thread(exits, counted(log))), 0); }) != "value",
          "argument");
    check(log.alive() == 0, "the argument is destroyed");
    check(run_async_task(sincpro::to_thread([] { return 5; })) == 5, "the pool goes on");
    return 0;
}

/// What an abandoned function hands to its worker while that is being destroyed.
int a_worker_that_is_destroyed_takes_nothing() {
    static std::optional<gate> destructor_waits;
    destructor_waits.emplace();
    std::string outcomes;
    const gate runs;
    const auto function = [&](worker& w) {
        runs.open();
        destructor_waits->wait();
        outcomes = outcome_of([&] { return w.run(gives(7)); }) + " " + outcome_of([&] { return (w.start(), 0); });
    };
    {
        worker gone({.shutdown_grace = 60s});
        struct coroutines {
            static task<> call(decltype(function)& f, worker& w) {
                struct end {
                    ~end() { destructor_waits->open(); }
                };
                const end at_the_end;
                co_await sincpro::to_thread(sincpro::abandon_on_cancel, std::ref(f), std::ref(w));
            }
        };
        gone.submit(coroutines::call(function, gone));
        runs.wait();
    }
    check(outcomes == "worker_stopped worker_stopped", outcomes);
    return 0;
}

int a_library_calls_while_it_is_loaded() {
    ::alarm(60);
    void* const library = ::dlopen(PROCESS_LOADED, RTLD_NOW);
    if (library == nullptr) fail(::dlerror());
    int (*value)() = nullptr;
    *reinterpret_cast<void**>(&value) = ::dlsym(library, "configured_value");
    return value();
}

/// Another library's coroutine runs the task outside of any worker, and goes on in the child.
int fork_in_a_task_that_another_library_runs() {
    struct coroutines {
        static task<pid_t> inner() { co_return ::fork(); }
        static task<pid_t> outer() { co_return co_await inner(); }
        static support::owned_coroutine other_library(pid_t& child, bool& went_on) {
            child = co_await outer();
            went_on = true;
        }
    };
    check(run_async_task(gives(5)) == 5, "before");
    pid_t child = -1;
    bool went_on = false;
    const auto running = coroutines::other_library(child, went_on);
    if (child == 0) {
        ::_exit(went_on && run_async_task(gives(6)) == 6 ? 33 : 92);
    }
    check(went_on, "parent");
    check(wait_for_child(child) == 33, "child");
    return 0;
}

std::atomic<worker*> about_to_end{nullptr};
std::atomic<int> ended_threads{0};
struct shutdown_at_thread_end {
    bool armed = false;
    ~shutdown_at_thread_end() {
        if (armed) {
            about_to_end.load()->shutdown();
            ++ended_threads;
        }
    }
};
thread_local shutdown_at_thread_end when_this_thread_ends;

/// The worker's thread ends, and shuts the worker down, while another one does that too.
int shutdown_where_the_worker_thread_ends() {
    for (int round = 1; round <= 300; ++round) {
        worker w;
        about_to_end = &w;
        w.run([]() -> task<> {
            when_this_thread_ends.armed = true;
            co_return;
        });
        w.shutdown();
        while (ended_threads != round) {
            std::this_thread::yield();  // the worker must live until then
        }
    }
    return 0;
}

#if defined(__linux__)
/// As the filters of containers do with calls that are younger than they are.
int a_filter_refuses_what_it_does_not_know() {
    sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{std::size(filter), filter};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        return 0;  // an emulator
    }
    const support::socket_pair sockets;
    const auto reads = [&]() -> task<> {
        co_await sleep_for(1ms);
        co_await sincpro::wait_readable(sockets.here.get());
    };
    auto future = submit_async_task(reads);
    run_async_task(sleep_for(2ms));
    support::write_byte(sockets.there.get());
    check(future.wait_for(20s) == std::future_status::ready, "what is readable was not noticed");
    return 0;
}
#endif

const std::map<std::string_view, int (*)()> scenarios = {
#define SCENARIO(name) \
    { #name, name }
    SCENARIO(first_call_by_many_threads),
    SCENARIO(nothing_is_started_unasked),
    SCENARIO(exit_idle),
    SCENARIO(exit_after_shutdown),
    SCENARIO(exit_with_suspended_tasks),
    SCENARIO(exit_with_blocked_task),
    SCENARIO(exit_with_endless_task),
    SCENARIO(exit_with_all_kinds_of_tasks_and_default_options),
    SCENARIO(exit_with_endless_function),
    SCENARIO(exit_in_a_task),
    SCENARIO(exit_in_a_callable),
    SCENARIO(exit_in_a_task_while_main_does_something_else),
    SCENARIO(exit_in_a_task_with_others_suspended),
    SCENARIO(exit_in_a_task_of_another_worker),
    SCENARIO(exit_in_a_function_of_to_thread),
    SCENARIO(exit_releases_threads_that_are_blocked),
    SCENARIO(exit_in_a_task_releases_threads_that_are_blocked),
    SCENARIO(exit_in_another_thread_leaves_main_blocked),
    SCENARIO(exit_in_another_thread_leaves_main_blocked_with_a_timeout),
    SCENARIO(exit_in_another_thread_leaves_main_blocked_beyond_its_deadline),
    SCENARIO(exit_while_threads_go_on_calling),
    SCENARIO(call_after_exit),
    SCENARIO(first_call_after_exit),
    SCENARIO(call_in_a_later_static),
    SCENARIO(call_in_atexit),
    SCENARIO(future_read_after_exit),
    SCENARIO(static_worker),
    SCENARIO(unobserved_failures),
    SCENARIO(timeouts),
    SCENARIO(waits_for_a_signal),
    SCENARIO(handles_a_signal),
    SCENARIO(fork_before_use),
    SCENARIO(fork_idle),
    SCENARIO(fork_and_exit_in_the_child),
    SCENARIO(fork_of_a_fork),
    SCENARIO(fork_with_other_workers),
    SCENARIO(fork_destroys_workers_in_the_child),
    SCENARIO(fork_leaves_waiting_tasks_of_the_parent_alone),
    SCENARIO(fork_many_times_while_busy),
    SCENARIO(fork_while_workers_start_and_stop),
    SCENARIO(fork_while_tasks_end),
    SCENARIO(fork_while_results_ask_the_worker),
    SCENARIO(fork_while_a_worker_is_destroyed),
    SCENARIO(fork_with_a_waiter_for_a_permit),
    SCENARIO(fork_during_the_first_call),
    SCENARIO(fork_in_a_task),
    SCENARIO(fork_in_a_task_and_call),
    SCENARIO(fork_in_a_task_that_another_library_runs),
    SCENARIO(fork_in_a_task_leaves_a_child_that_signals_end),
    SCENARIO(a_blocked_caller_is_cancelled),
    SCENARIO(a_function_ends_its_thread),
    SCENARIO(a_worker_that_is_destroyed_takes_nothing),
    SCENARIO(a_library_calls_while_it_is_loaded),
    SCENARIO(shutdown_where_the_worker_thread_ends),
#if defined(__linux__)
    SCENARIO(a_filter_refuses_what_it_does_not_know),
#endif
#undef SCENARIO
};

}  // namespace

int main(int argc, char** argv) {
    const auto scenario = scenarios.find(argc == 2 ? argv[1] : "");
    if (scenario == scenarios.end()) {
        std::fprintf(stderr, "usage: %s SCENARIO\n", argv[0]);
        return 91;
    }
    try {
        return scenario->second();
    } catch (const std::exception& error) {
        fail(std::string("exception: ") + error.what());
    }
}

#else

int main() {}

#endif
