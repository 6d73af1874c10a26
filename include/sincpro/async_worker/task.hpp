#pragma once

#include "awaitable.hpp"
#include "cancellation.hpp"
#include "foreign_await.hpp"
#include "frame_pool.hpp"
#include "misuse.hpp"
#include "result.hpp"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace sincpro {

namespace detail {

template <class T>
class outermost;

/// The await of a child task, in the frame of its awaiter: owns the child's frame.
struct promise_base::awaiting {
    awaiting(std::coroutine_handle<> f, promise_base* c) : frame(f), child(c) {
        if (frame == nullptr) throw_empty();
    }
    awaiting(const awaiting&) = delete;
    awaiting& operator=(const awaiting&) = delete;
    ~awaiting() {
        if (frame) destroy(frame, *child);
    }

    static constexpr const char* empty = "sincpro: this was awaited or moved from before; a task can be awaited once";
    [[noreturn]] static void throw_empty() { throw std::logic_error(empty); }

    /// Destroys a task's frame, and before it those of the tasks that it is suspended in, from the innermost out.
    static void destroy(std::coroutine_handle<> outermost, promise_base& p) noexcept {
        if (p.awaits != nullptr) destroy_awaited(p);
        outermost.destroy();
    }
    static void destroy_awaited(promise_base& p) noexcept {
        promise_base* inner = &p;
        while (inner->awaits != nullptr) inner = inner->awaits->child;
        while (inner != &p) {
            promise_base* const outer = inner->awaiter;
            std::exchange(outer->awaits->frame, nullptr).destroy();
            inner = outer;
        }
    }

    std::coroutine_handle<> frame;
    promise_base* child;
};

template <class T>
struct task_promise;

struct final_awaiter {
    bool await_ready() const noexcept { return false; }
    template <class T>
    void await_suspend(std::coroutine_handle<task_promise<T>> h) const noexcept {
        promise_base& p = h.promise();
        switch (p.owned_by) {
            case promise_base::owner::task:  // no continuation: its awaiter started it and has not been suspended
                if (p.continuation) current().innermost->next = p.continuation;
                break;
            case promise_base::owner::job: p.in->done = true; break;
            case promise_base::owner::foreign:  // pairs with foreign_awaiter::await_suspend
                if (p.passed.exchange(true, std::memory_order_acq_rel)) current().innermost->next = p.continuation;
                break;
        }
    }
    void await_resume() const noexcept {}
};

/// Awaits a task in a task. The child starts inside the awaiter's own call, and if it does not suspend neither does the
/// awaiter: that takes a third of the time. Every 32nd level goes through the trampoline, which bounds the stack.
template <class T>
class child_awaiter : promise_base::awaiting {
public:
    child_awaiter(std::coroutine_handle<task_promise<T>> h, promise_base& parent)
        : awaiting(h, h ? std::addressof(h.promise()) : nullptr), parent_(parent) {}

    bool await_ready() {
        child->in = parent_.in;
        child->awaiter = &parent_;
        child->depth = parent_.depth + 1;
        if (!starts_inside()) return false;
        frame.resume();
        return frame.done();
    }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        child->continuation = h;
        parent_.awaits = this;
        if (!starts_inside()) current().innermost->next = frame;
    }
    T await_resume() {
        parent_.awaits = nullptr;
        return std::move(static_cast<task_promise<T>*>(child)->outcome).value();
    }

private:
    /// Outside of a worker another thread may resume the child before its awaiter is suspended: there never.
    bool starts_inside() const noexcept { return child->in != nullptr && child->depth % 32 != 0; }

    promise_base& parent_;
};

/// Awaits a task in another library's coroutine, which may itself run in a task or outside of any worker.
template <class T>
class foreign_awaiter : promise_base::awaiting {
public:
    explicit foreign_awaiter(std::coroutine_handle<task_promise<T>> h)
        : awaiting(h, h ? std::addressof(h.promise()) : nullptr) {}

    bool await_ready() const noexcept { return false; }
    SINCPRO_DETAIL_NOINLINE bool await_suspend(std::coroutine_handle<> h) {
        promise_base& p = *child;
        p.in = current().running;
        p.owned_by = promise_base::owner::foreign;
        p.continuation = h;
        trampoline().run(frame);
        return !p.passed.exchange(true, std::memory_order_acq_rel);  // pairs with final_awaiter
    }
    T await_resume() { return std::move(static_cast<task_promise<T>*>(child)->outcome).value(); }
};

template <class T>
struct task_promise_base : promise_base {
    static void* operator new(std::size_t size) {
        if constexpr (over_aligned()) return ::operator new(size, std::align_val_t(alignof(stored_t<T>)));
        return frame_pool::allocate(size);
    }
    static void operator delete(void* p, std::size_t size) noexcept {
        if constexpr (over_aligned()) return ::operator delete(p, std::align_val_t(alignof(stored_t<T>)));
        frame_pool::deallocate(p, size);
    }
    static constexpr bool over_aligned() { return alignof(stored_t<T>) > __STDCPP_DEFAULT_NEW_ALIGNMENT__; }

    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { outcome.fail(std::current_exception()); }

    template <class U>
    child_awaiter<U> await_transform(task<U>&& child, const char* file = __builtin_FILE(),
                                     unsigned line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
        at = {file, function, line};
        return child_awaiter<U>(std::exchange(child.frame_, nullptr), *this);
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
            return foreign_await<A>(std::forward<A>(a));
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
    void return_value(U&& value) { this->outcome.emplace(std::forward<U>(value)); }
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
        this->outcome.emplace(std::addressof(target));
    }
};

template <>
struct task_promise<void> : task_promise_base<void> {
    task<void> get_return_object() noexcept;
    void return_void() { outcome.emplace(); }
};

}  // namespace detail

/// A coroutine that yields a T: void, a reference or any type that can be moved. (cppcoro::task, asyncio.coroutine)
///
/// Lazy: it runs when it is awaited, once, or handed to a worker, and then on that worker's thread only: after awaiting
/// something that resumes elsewhere it is back there. Its frame keeps its parameters, by reference where they are declared
/// so. Destroying it destroys the frame, which must not be running.
template <class T = void>
class [[nodiscard]] task {
public:
    using promise_type = detail::task_promise<T>;  ///< For the compiler.

    /// `other` is empty afterwards: awaiting it or handing it to a worker throws std::logic_error.
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    /// Destroys the frame that was held.
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            reset();
            frame_ = std::exchange(other.frame_, nullptr);
        }
        return *this;
    }
    ~task() { reset(); }

    /// For other libraries' coroutines. Outside of any worker the task runs on the threads that resume it, and the
    /// operations of this library throw there.
    auto operator co_await() && { return detail::foreign_awaiter<T>(std::exchange(frame_, nullptr)); }

private:
    friend promise_type;
    template <class>
    friend struct detail::task_promise_base;
    template <class>
    friend class detail::outermost;

    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    void reset() noexcept {
        if (const auto frame = std::exchange(frame_, nullptr)) {
            detail::promise_base::awaiting::destroy(frame, frame.promise());
        }
    }

    std::coroutine_handle<promise_type> frame_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
}
template <class T>
task<T&> task_promise<T&>::get_return_object() noexcept {
    return task<T&>(std::coroutine_handle<task_promise>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise>::from_promise(*this));
}

}  // namespace detail

static_assert(awaitable<task<int>> && awaitable<task<>>);

}  // namespace sincpro
