#pragma once

#include "../../awaitable.hpp"
#include "../../errors.hpp"
#include "../../result.hpp"
#include "../base/config.hpp"
#include "../base/diagnostics.hpp"
#include "../base/frame_cache.hpp"
#include "../base/function.hpp"
#include "awaitable_adapter.hpp"
#include "job.hpp"
#include "operation.hpp"
#include "trampoline.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "job_runner.hpp"

#include <stdexcept>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

template <class T>
struct task_promise;

[[noreturn]] void throw_awaited_before();
std::exception_ptr make_awaited_before() noexcept;

/// Destroys a task's frame, and before it those of the tasks that it is suspended in, from the innermost out.
void destroy_frame(std::coroutine_handle<> frame, promise_base& p) noexcept;

/// The frame of a task of any type, for who owns it.
struct owned_frame {
    std::coroutine_handle<> frame;
    promise_base* promise;
};

/// Takes the frame out of a task, which is empty afterwards.
struct task_access {
    template <class T>
    static std::coroutine_handle<task_promise<T>> release_frame(task<T>& t) noexcept {
        return std::exchange(t.frame_, nullptr);
    }
    /// Throws std::logic_error if there is none.
    template <class T>
    static owned_frame take_frame(task<T>& t) {
        const std::coroutine_handle<task_promise<T>> frame = release_frame(t);
        if (!frame) throw_awaited_before();
        return {frame, std::addressof(frame.promise())};
    }
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

/// Awaits a task in a task. The child starts inside the awaiter's own call, and if it does not suspend neither does the
/// awaiter: that takes a third of the time. Every 32nd level goes through the trampoline, which bounds the stack.
template <class T>
class child_awaiter : task_await {
public:
    child_awaiter(std::coroutine_handle<task_promise<T>> h, promise_base& parent)
        : task_await(h, h ? std::addressof(h.promise()) : nullptr), parent_(parent) {}

    bool await_ready() {
        child->in = parent_.in;
        child->awaiter = &parent_;
        child->depth = parent_.depth + 1;
        // A loop of them must end too; seldom, as it takes six times as long.
        if ((parent_.turn = static_cast<std::uint16_t>(parent_.turn + 64)) == 0 && !begin_through_queue(*this)) {
            result_access::set_exception(outcome(), exception_of<operation_cancelled>());
        }
        if (!starts_inside()) return false;
        frame.resume();
        return frame.done();
    }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        child->continuation = h;
        parent_.awaits = this;
        if (!starts_inside()) this_thread().innermost->next = frame;
    }
    T await_resume() {
        parent_.awaits = nullptr;
        return std::move(outcome()).value();
    }

private:
    result<T>& outcome() const noexcept { return static_cast<task_promise<T>*>(child)->outcome; }
    /// Outside of a worker another thread may resume the child before its awaiter is suspended: there never.
    bool starts_inside() const noexcept { return child->in != nullptr && child->depth % 32 != 0; }

    promise_base& parent_;
};

/// Suspends another library's coroutine in a task that begins now. False if that has ended within this call.
bool suspend(task_await& a, std::coroutine_handle<> awaiter);

/// Awaits a task in another library's coroutine, which may itself run in a task or outside of any worker. May be moved until
/// it is suspended.
template <class T>
class foreign_awaiter : task_await {
public:
    explicit foreign_awaiter(std::coroutine_handle<task_promise<T>> h)
        : task_await(h, h ? std::addressof(h.promise()) : nullptr) {}

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> h) { return suspend(*this, h); }
    T await_resume() { return std::move(static_cast<task_promise<T>*>(child)->outcome).value(); }
};

struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class T>
    void await_suspend(std::coroutine_handle<task_promise<T>> h) const noexcept {
        promise_base& p = h.promise();
        switch (p.owned_by) {
            case promise_base::owner::task:  // no continuation: its awaiter started it and has not been suspended
                if (p.continuation) this_thread().innermost->next = p.continuation;
                break;
            case promise_base::owner::job: p.in->done = true; break;
            case promise_base::owner::other_library:
                if (handshake(p.passed)) this_thread().innermost->next = p.continuation;
                break;
        }
    }
    void await_resume() const noexcept {}
};

template <class T>
struct task_promise_base : promise_base, frame_memory<alignof(stored_t<T>)> {
    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { result_access::set_exception(outcome, std::current_exception()); }

    template <class U>
    child_awaiter<U> await_transform(task<U>&& child, const char* file = __builtin_FILE(),
                                     unsigned line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
        at = {file, function, line};
        return child_awaiter<U>(task_access::release_frame(child), *this);
    }
    template <class A>
    decltype(auto) await_transform(A&& a, const char* file = __builtin_FILE(), unsigned line = __builtin_LINE(),
                                   const char* function = __builtin_FUNCTION()) {
        at = {file, function, line};
        using type = std::remove_cvref_t<A>;
        if constexpr (is_task<type>) {
            static_assert(!is_task<type>, "a task can be awaited once: write co_await std::move(task)");
            return misused();
        } else if constexpr (awaitable_factory<A>) {
            static_assert(!awaitable_factory<A>, "this is a callable: await what it returns, write co_await f()");
            return misused();
        } else if constexpr (!awaitable<A>) {
            static_assert(advise<type>(), "this cannot be awaited. A blocking function? await to_thread(f) in a task");
            return misused();
        } else if constexpr (!std::is_base_of_v<operation, std::remove_cvref_t<awaiter_t<A>>>) {
            return awaitable_adapter<A>(std::forward<A>(a), *this);
        } else if constexpr (std::is_constructible_v<std::remove_cvref_t<awaiter_t<A>>, awaiter_t<A>>) {
            if constexpr (std::is_lvalue_reference_v<awaiter_t<A>>) {
                // A copy, as GCC 11 and 12 make of an lvalue in any case.
                return type(detail::get_awaiter(std::forward<A>(a)));
            } else {
                return detail::get_awaiter(std::forward<A>(a));
            }
        } else {
            static_assert(!awaitable<A>, "this can be awaited once: write co_await std::move(x)");
            return misused();
        }
    }

    result<T> outcome;
};

template <class T>
struct task_promise : task_promise_base<T> {
    static_assert(std::is_move_constructible_v<T>, "a task's result must be movable: return a std::unique_ptr to it");
    static_assert(std::is_nothrow_destructible_v<T>, "a task's result must have a destructor that does not throw");

    task<T> get_return_object() noexcept;

    template <class U = T>
        requires std::convertible_to<U, T>
    void return_value(U&& value) { result_access::set_value(this->outcome, std::forward<U>(value)); }
    template <class U>
        requires(!std::convertible_to<task<U>, T>)
    void return_value(task<U>) {
        static_assert(!is_task<task<U>>, "the value is in the task: write co_return co_await f()");
    }
};

template <class T>
struct task_promise<T&> : task_promise_base<T&> {
    task<T&> get_return_object() noexcept;

    template <class U = T&>
        requires std::convertible_to<U, T&>
    void return_value(U&& value) {
        constexpr bool lasts = std::is_constructible_v<std::reference_wrapper<T>, U>;
        static_assert(lasts, "the result would refer to a temporary: let the task return a value");
        T& target = std::forward<U>(value);
        result_access::set_value(this->outcome, std::addressof(target));
    }
};

template <>
struct task_promise<void> : task_promise_base<void> {
    task<void> get_return_object() noexcept;
    void return_void() { result_access::set_value(outcome); }
};

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
    const thread_context& thread = this_thread();
    p.in = thread.running;
    p.owned_by = promise_base::owner::other_library;
    p.continuation = awaiter;
    // Also where our coroutines and another library's await each other in turn, to any depth.
    const bool deep = thread.innermost != nullptr && thread.innermost->depth >= 64;
    if (p.in != nullptr && (p.in->runner->is_turn_due() || deep)) begin_through_queue(a);
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
