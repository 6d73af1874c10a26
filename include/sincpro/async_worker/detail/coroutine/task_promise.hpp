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
#include "task_await.hpp"
#include "trampoline.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

template <class T>
struct task_promise;

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

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
