#pragma once

#include "config.hpp"
#include "frame_cache.hpp"

#include <string>
#include <thread>

#if SINCPRO_DETAIL_DEFINITIONS
#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Starts a thread that calls `entry(argument)`. No asynchronous signal but SIGPROF arrives on it, not even before its first
/// instruction: signals are for the program's own threads. Throws std::system_error if the system has no more threads.
std::thread start_thread(void (*entry)(void*), void* argument);

/// In the child of a fork: what a thread of start_thread() has forked gets the signals that the thread of the program got
/// which started it, else nobody could end it.
void restore_signals_after_fork() noexcept;

/// As debuggers and `top` show it (Linux: the first 15 characters).
void name_this_thread(const std::string& name) noexcept;

/// True on the thread that runs main().
bool on_main_thread() noexcept;

#if SINCPRO_DETAIL_DEFINITIONS

/// Keeps pthread_cancel() from unwinding the thread here: many system calls do that which may stand where nothing may be
/// thrown.
class thread_cancellation_disabled {
public:
#if defined(PTHREAD_CANCEL_DISABLE) && !defined(_WIN32)
    thread_cancellation_disabled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    ~thread_cancellation_disabled() { ::pthread_setcancelstate(before_, nullptr); }
#else
    thread_cancellation_disabled() noexcept {}
#endif
    thread_cancellation_disabled(const thread_cancellation_disabled&) = delete;
    thread_cancellation_disabled& operator=(const thread_cancellation_disabled&) = delete;

#if defined(PTHREAD_CANCEL_DISABLE) && !defined(_WIN32)
private:
    int before_ = 0;
#endif
};

#if !defined(_WIN32)

/// The signal mask of the thread of the program that started this thread of the library; null on the program's own.
SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE const sigset_t*& mask_of_starter() noexcept {
    static constinit thread_local const sigset_t* mask = nullptr;
    return mask;
}

/// Blocks what the threads of the library block; a new thread inherits it.
class signals_blocked {
public:
    signals_blocked() noexcept {
        sigset_t all;
        sigfillset(&all);  // a macro on some systems, as sigdelset is
        // Synchronous signals are about what this thread itself does; profilers sample every thread.
        for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&all, s);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
    ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    const sigset_t& of_program() const noexcept { return mask_of_starter() != nullptr ? *mask_of_starter() : before_; }

private:
    sigset_t before_;
};

SINCPRO_DETAIL_COLD std::thread start_thread(void (*entry)(void*), void* argument) {
    const signals_blocked while_it_starts;
    return std::thread([entry, argument, mask = while_it_starts.of_program()] {
        mask_of_starter() = &mask;
        const frame_cache::thread_scope until_it_ends;
        entry(argument);
    });
}

SINCPRO_DETAIL_COLD void restore_signals_after_fork() noexcept {
    if (mask_of_starter() != nullptr) ::pthread_sigmask(SIG_SETMASK, mask_of_starter(), nullptr);
}

#else

SINCPRO_DETAIL_COLD std::thread start_thread(void (*entry)(void*), void* argument) {
    return std::thread([entry, argument] {
        const frame_cache::thread_scope until_it_ends;
        entry(argument);
    });
}

SINCPRO_DETAIL_COLD void restore_signals_after_fork() noexcept {}

#endif

SINCPRO_DETAIL_COLD void name_this_thread([[maybe_unused]] const std::string& name) noexcept {
#if defined(__linux__)
    char shortened[16] = {};  // what the kernel keeps
    name.copy(shortened, sizeof shortened - 1);
    ::pthread_setname_np(::pthread_self(), shortened);
#elif defined(__APPLE__)
    ::pthread_setname_np(name.c_str());
#endif
}

#if defined(__linux__)
SINCPRO_DETAIL_INLINE bool on_main_thread() noexcept {
    static constinit thread_local signed char known = -1;  // asking the system costs 0.3 us
    if (known < 0) known = ::syscall(SYS_gettid) == ::getpid() ? 1 : 0;
    return known == 1;
}
#else
inline const std::thread::id thread_of_static_initialization = std::this_thread::get_id();
SINCPRO_DETAIL_INLINE bool on_main_thread() noexcept {
    return std::this_thread::get_id() == thread_of_static_initialization;
}
#endif

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
