#include <sincpro/async_worker/detail/base/thread.hpp>

#include <cstdint>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/threads.hpp"

#if !defined(_WIN32)
#include <csignal>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

using sincpro::detail::name_this_thread;
using sincpro::detail::on_main_thread;

namespace {

/// Starts a thread that calls `f`, which stays alive until it is joined.
template <class F>
std::thread start_thread(F& f) {
    return sincpro::detail::start_thread([](void* argument) noexcept { (*static_cast<F*>(argument))(); }, &f);
}

}  // namespace

TEST_CASE("the main thread is the one that runs main") {
    CHECK(on_main_thread());
    bool there = true, in_a_thread_of_ours = true;
    std::thread([&] { there = on_main_thread(); }).join();
    auto f = [&] { in_a_thread_of_ours = on_main_thread(); };
    start_thread(f).join();
    CHECK_FALSE(there);
    CHECK_FALSE(in_a_thread_of_ours);
    CHECK(on_main_thread());
}

TEST_CASE("start_thread calls its function with the argument, on a new thread") {
    struct called {
        std::int64_t thread = support::this_thread_number();
        int times = 0;
    } here;
    const std::int64_t mine = here.thread;
    const auto entry = [](void* argument) noexcept {
        auto& c = *static_cast<called*>(argument);
        c.thread = support::this_thread_number();
        ++c.times;
    };
    sincpro::detail::start_thread(entry, &here).join();
    CHECK(here.times == 1);
    CHECK(here.thread != mine);
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

#if !defined(_WIN32)
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
    auto f = [&] { there = signal_mask(); };
    start_thread(f).join();
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
    auto nothing = [] {};
    start_thread(nothing).join();
    CHECK(same(signal_mask(), before));

    sigset_t some = before;
    ::sigaddset(&some, SIGUSR1);
    ::sigaddset(&some, SIGPROF);
    ::pthread_sigmask(SIG_SETMASK, &some, nullptr);
    const sigset_t changed = signal_mask();
    start_thread(nothing).join();
    const sigset_t after = signal_mask();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK(same(changed, after));
}

TEST_CASE("a signal that waits for the process is not delivered to a started thread, not even when it begins") {
    // Blocked here too, so only a thread that does not block it could take it: the process would die.
    const sigset_t before = signal_mask();
    sigset_t with_ours = before;
    ::sigaddset(&with_ours, SIGUSR2);
    ::pthread_sigmask(SIG_SETMASK, &with_ours, nullptr);
    ::kill(::getpid(), SIGUSR2);
    auto nothing = [] {};
    for (int i = 0; i < 20; ++i) {
        start_thread(nothing).join();
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
#endif
