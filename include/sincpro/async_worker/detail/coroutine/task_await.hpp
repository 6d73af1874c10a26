#pragma once

#include "../../errors.hpp"
#include "../base/config.hpp"
#include "job.hpp"
#include "operation.hpp"
#include "trampoline.hpp"

#include <coroutine>
#include <exception>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../base/frame_cache.hpp"
#include "job_runner.hpp"

#include <new>
#include <stdexcept>
#endif

// The await of a task, as far as it does not depend on the result.

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

[[noreturn]] void throw_awaited_before();
std::exception_ptr make_awaited_before() noexcept;

/// Destroys a task's frame, and before it those of the tasks that it is suspended in, from the innermost out.
void destroy_frame(std::coroutine_handle<> frame, promise_base& p) noexcept;

/// The frame of a task of any type, for who owns it.
struct owned_frame {
    std::coroutine_handle<> frame;
    promise_base* promise;
};

/// The await of a child task, in the frame of its awaiter: owns the child's frame.
struct task_await {
    task_await(std::coroutine_handle<> f, promise_base* c) : frame(f), child(c) {
        if (frame == nullptr) throw_awaited_before();
    }
    task_await(task_await&& other) noexcept : frame(std::exchange(other.frame, nullptr)), child(other.child) {}
    task_await& operator=(task_await&&) = delete;
    ~task_await() {
        if (frame) destroy_frame(frame, *child);
    }

    std::coroutine_handle<> frame;
    promise_base* child;
};

/// Lets the child begin only after a pass through the loop's queue; at once if there is no memory for that. False if it does
/// not begin, but its awaiter goes on then, with operation_cancelled.
bool begin_through_queue(task_await& a) noexcept;

/// Suspends another library's coroutine in a task that begins now. False if that has ended within this call.
bool suspend(task_await& a, std::coroutine_handle<> awaiter);

#if SINCPRO_DETAIL_DEFINITIONS

inline constexpr const char* awaited_before =
    "sincpro: this was awaited or moved from before; a task can be awaited once";

SINCPRO_DETAIL_COLD void throw_awaited_before() { throw std::logic_error(awaited_before); }
SINCPRO_DETAIL_COLD std::exception_ptr make_awaited_before() noexcept {
    return exception_of<std::logic_error>(awaited_before);
}

/// Goes through the loop's queue, and on with the frame of a task that has not begun, which it owns.
struct queued_beginning {
    struct promise_type;
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> h) const noexcept;
        void await_resume() const noexcept {}
    };
    struct promise_type : promise_base, recycled {
        explicit promise_type(const task_await& a) noexcept : child(a.child) {
            in = child->in;
            awaiter = child;  // which has not begun, but another job may adopt it before
        }
        ~promise_type() {
            if (task) task.destroy();
        }
        queued_beginning get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        queued_beginning::final_awaiter final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }

        promise_base* child;
        std::coroutine_handle<> task;  // the child's frame
        bool begins = true;
    };
    std::coroutine_handle<promise_type> frame;
};
SINCPRO_DETAIL_INLINE void queued_beginning::final_awaiter::await_suspend(
    std::coroutine_handle<promise_type> h) const noexcept {
    this_thread().innermost->next = h.promise().begins ? h.promise().task : h.promise().child->continuation;
}

struct turn_of_the_loop final : yield_operation {
    void await_resume() const noexcept {}
};
inline queued_beginning make_queued_beginning(const task_await&) { co_await turn_of_the_loop(); }

SINCPRO_DETAIL_COLD bool begin_through_queue(task_await& a) noexcept {
    promise_base& child = *a.child;
    if (child.in == nullptr) return true;
    try {
        const auto frame = make_queued_beginning(a).frame;
        queued_beginning::promise_type& turn = frame.promise();
        turn.task = std::exchange(a.frame, frame);
        turn.begins = child.owned_by == promise_base::owner::other_library || !child.in->has_ignored_cancel();
        child.depth -= child.depth % 32;  // not inside its awaiter's call
        return turn.begins;
    } catch (const std::bad_alloc&) {
        return true;
    }
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE bool suspend(task_await& a, std::coroutine_handle<> awaiter) {
    promise_base& p = *a.child;
    p.in = this_thread().running;
    p.owned_by = promise_base::owner::other_library;
    p.continuation = awaiter;
    // That bounds the stack too, where our coroutines and another library's await each other in turn.
    if (p.in != nullptr && p.in->runner->is_turn_due()) begin_through_queue(a);
    trampoline().run(a.frame);
    return !handshake(p.passed);  // with final_awaiter: the second of the two resumes
}

SINCPRO_DETAIL_INLINE void destroy_frame(std::coroutine_handle<> frame, promise_base& p) noexcept {
    if (p.awaits != nullptr) {
        promise_base* inner = &p;
        while (inner->awaits != nullptr) inner = inner->awaits->child;
        while (inner != &p) {
            promise_base* const outer = inner->awaiter;
            std::exchange(outer->awaits->frame, nullptr).destroy();
            inner = outer;
        }
    }
    frame.destroy();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
