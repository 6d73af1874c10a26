#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#if defined(_WIN32)
#define SINCPRO_DETAIL_POSIX 0
#else
#define SINCPRO_DETAIL_POSIX 1
#endif

#if SINCPRO_DETAIL_POSIX
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sincpro::detail {

#if defined(__linux__)
inline bool on_main_thread() noexcept { return ::syscall(SYS_gettid) == ::getpid(); }
#else
inline const std::thread::id thread_of_static_initialization = std::this_thread::get_id();
inline bool on_main_thread() noexcept { return std::this_thread::get_id() == thread_of_static_initialization; }
#endif

inline void name_this_thread([[maybe_unused]] const std::string& name) noexcept {
#if defined(__linux__)
    char shortened[16] = {};  // what the kernel keeps
    name.copy(shortened, sizeof shortened - 1);
    ::pthread_setname_np(::pthread_self(), shortened);
#elif defined(__APPLE__)
    ::pthread_setname_np(name.c_str());
#endif
}

/// Starts a thread on which no asynchronous signal but SIGPROF arrives, not even before its first instruction: signals are
/// for the program's own threads. Throws std::system_error if the system has no more threads.
template <class F>
std::thread start_thread(F&& f) {
#if SINCPRO_DETAIL_POSIX
    struct blocked {
        blocked() {
            sigset_t all;
            ::sigfillset(&all);
            // Synchronous ones are about what this thread itself does; profilers sample every thread.
            for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) ::sigdelset(&all, s);
            ::pthread_sigmask(SIG_SETMASK, &all, &before);
        }
        ~blocked() { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }
        sigset_t before;
    } const while_it_starts;
#endif
    return std::thread(std::forward<F>(f));
}

/// Calls the three functions around every later fork() of the process; once they are set they stay.
inline void set_fork_handlers([[maybe_unused]] void (*prepare)(), [[maybe_unused]] void (*parent)(),
                              [[maybe_unused]] void (*child)()) {
#if SINCPRO_DETAIL_POSIX
    if (const int error = ::pthread_atfork(prepare, parent, child)) {
        throw std::system_error(error, std::generic_category(), "sincpro: pthread_atfork");
    }
#endif
}

}  // namespace sincpro::detail
