#pragma once

#include "../base/config.hpp"

#include <atomic>
#include <coroutine>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class job;
class trampoline;

/// What the coroutines that run on a thread must know of it.
struct thread_context {
    job* running = nullptr;  // whose coroutine runs
    trampoline* innermost = nullptr;
    const std::atomic<bool>* function_cancelled = nullptr;  // set while a function of to_thread runs
};

/// Of the calling thread.
thread_context& this_thread() noexcept;

/// True in a job that was cancelled, or is part of such.
bool is_running_job_cancelled() noexcept;

#if SINCPRO_DETAIL_DEFINITIONS
SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_SHARED SINCPRO_DETAIL_INLINE thread_context& this_thread() noexcept {
    static constinit thread_local thread_context context;
    return context;
}
#endif

/// Resumes coroutines one after the other: each leaves in `next` the one to go on with, and returns to here first, so that a
/// chain of any length needs no stack. (Symmetric transfer does that too, but GCC 11 and 12 make it a call at -O0, -O1 and
/// under sanitizers.)
class trampoline {
public:
    explicit trampoline(thread_context& thread = this_thread()) noexcept
        : depth(thread.innermost != nullptr ? thread.innermost->depth + 1 : 0),
          thread_(thread),
          outer_(std::exchange(thread.innermost, this)) {}
    trampoline(const trampoline&) = delete;
    trampoline& operator=(const trampoline&) = delete;
    ~trampoline() { thread_.innermost = outer_; }

    /// Resumes `h` and all that follows from it, until a coroutine is suspended or has ended without a successor.
    void run(std::coroutine_handle<> h) {
        for (; h; h = std::exchange(next, nullptr)) h.resume();
    }

    std::coroutine_handle<> next;
    const unsigned depth;  // trampolines below this one on the thread's stack

private:
    thread_context& thread_;
    trampoline* outer_;
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
