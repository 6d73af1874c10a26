#include <sincpro/async_worker/thread_setup.hpp>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"
#include "support/thrown.hpp"

#if SINCPRO_DETAIL_POSIX
#include <csignal>

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

using sincpro::detail::name_this_thread;
using sincpro::detail::on_main_thread;
using sincpro::detail::start_thread;

TEST_CASE("the main thread is the one that runs main") {
    CHECK(on_main_thread());
    bool there = true, in_a_thread_of_ours = true;
    std::thread([&] { there = on_main_thread(); }).join();
    start_thread([&] { in_a_thread_of_ours = on_main_thread(); }).join();
    CHECK_FALSE(there);
    CHECK_FALSE(in_a_thread_of_ours);
    CHECK(on_main_thread());
}

TEST_CASE("start_thread moves its function to the new thread") {
    auto value = std::make_unique<int>(1);
    const int* const address = value.get();
    const int* seen = nullptr;
    std::int64_t thread = support::this_thread_number();
    start_thread([&, v = std::move(value)] {
        seen = v.get();
        thread = support::this_thread_number();
    }).join();
    CHECK(seen == address);
    CHECK(thread != support::this_thread_number());
}

TEST_CASE("what copying the function throws reaches the caller") {
    struct copy_fails {
        copy_fails() = default;
        copy_fails(const copy_fails&) { throw std::runtime_error("copied"); }
        void operator()() const {}
    };
    const copy_fails f;
    CHECK_THROWS_AS(start_thread(f), std::runtime_error);
}

#if defined(__linux__)
TEST_CASE("a thread has the name that it was given, as much of it as the system keeps") {
    const auto name_of_a_thread_named = [](const std::string& name) {
        std::string found;
        std::thread([&] {
            name_this_thread(name);
            found = support::thread_name(support::this_thread_number());
        }).join();
        return found;
    };
    CHECK(name_of_a_thread_named("db") == "db");
    CHECK(name_of_a_thread_named("fifteen letters") == "fifteen letters");
    CHECK(name_of_a_thread_named("more than fifteen letters") == "more than fifte");
    CHECK(name_of_a_thread_named("").empty());
}
#endif

#if SINCPRO_DETAIL_POSIX
namespace {

sigset_t signal_mask() {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return mask;
}

bool same(const sigset_t& a, const sigset_t& b) {
    for (int s = 1; s < NSIG; ++s) {
        if (::sigismember(&a, s) != ::sigismember(&b, s)) {
            return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("a started thread blocks every asynchronous signal but SIGPROF, and no synchronous one") {
    sigset_t there;
    start_thread([&] { there = signal_mask(); }).join();
    for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGVTALRM, SIGCHLD, SIGPIPE, SIGUSR1, SIGUSR2,
                        SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGIO}) {
        CAPTURE(s);
        CHECK(::sigismember(&there, s) == 1);
    }
    for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) {
        CAPTURE(s);
        CHECK(::sigismember(&there, s) == 0);
    }
}

TEST_CASE("the mask of the thread that starts another is as it was, whatever that had been") {
    const sigset_t before = signal_mask();
    start_thread([] {}).join();
    CHECK(same(signal_mask(), before));

    sigset_t some = before;
    ::sigaddset(&some, SIGUSR1);
    ::sigaddset(&some, SIGPROF);
    ::pthread_sigmask(SIG_SETMASK, &some, nullptr);
    const sigset_t changed = signal_mask();
    start_thread([] {}).join();
    const sigset_t after = signal_mask();

    struct copy_fails {
        copy_fails() = default;
        copy_fails(const copy_fails&) { throw std::runtime_error("copied"); }
        void operator()() const {}
    };
    const copy_fails f;
    const bool failed = support::thrown_by([&] { return start_thread(f); }) != nullptr;
    const sigset_t after_a_failure = signal_mask();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

    CHECK(same(changed, after));
    CHECK(failed);
    CHECK(same(changed, after_a_failure));
}

TEST_CASE("a signal that waits for the process is not delivered to a started thread, not even when it begins") {
    // Blocked here too, so only a thread that does not block it could take it: the process would die.
    const sigset_t before = signal_mask();
    sigset_t with_ours = before;
    ::sigaddset(&with_ours, SIGUSR2);
    ::pthread_sigmask(SIG_SETMASK, &with_ours, nullptr);
    ::kill(::getpid(), SIGUSR2);
    for (int i = 0; i < 20; ++i) {
        start_thread([] {}).join();
    }
    sigset_t pending;
    ::sigpending(&pending);
    const bool still_pending = ::sigismember(&pending, SIGUSR2) == 1;
    // Ignoring it discards it.
    const auto old_handler = std::signal(SIGUSR2, SIG_IGN);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    std::signal(SIGUSR2, old_handler);
    CHECK(still_pending);
}

namespace {

std::string fork_log;

}  // namespace

TEST_CASE("the fork handlers run before a fork, then in the parent and in the child") {
    if (!support::fork_is_testable) {
        return;
    }
    sincpro::detail::set_fork_handlers([] { fork_log += "before "; }, [] { fork_log += "parent"; },
                                       [] { fork_log += "child"; });
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(fork_log == "before child" ? 0 : 1);
    }
    REQUIRE(child > 0);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(fork_log == "before parent");
}
#endif
