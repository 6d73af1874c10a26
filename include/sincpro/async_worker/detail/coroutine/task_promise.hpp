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
    task_await(const task_await&) = delete;
    task_await& operator=(const task_await&) = delete;
    ~task_await() {
        if (frame) destroy_frame(frame, *child);
    }

    std::coroutine_handle<> frame;
    promise_base* child;
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
        return std::move(static_cast<task_promise<T>*>(child)->outcome).value();
    }

private:
    /// Outside of a worker another thread may resume the child before its awaiter is suspended: there never.
    bool starts_inside() const noexcept { return child->in != nullptr && child->depth % 32 != 0; }

    promise_base& parent_;
};

/// Awaits a task in another library's coroutine, which may itself run in a task or outside of any worker.
template <class T>
class foreign_awaiter : task_await {
public:
    explicit foreign_awaiter(std::coroutine_handle<task_promise<T>> h)
        : task_await(h, h ? std::addressof(h.promise()) : nullptr) {}

    bool await_ready() const noexcept { return false; }
    SINCPRO_DETAIL_NOINLINE bool await_suspend(std::coroutine_handle<> h) {
        promise_base& p = *child;
        p.in = this_thread().running;
        p.owned_by = promise_base::owner::other_library;
        p.continuation = h;
        trampoline().run(frame);
        return !handshake(p.passed);  // with final_awaiter: the second of the two resumes
    }
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
struct task_promise_base : promise_base {
    static void* operator new(std::size_t size) {
        if constexpr (over_aligned()) return ::operator new(size, std::align_val_t(alignof(stored_t<T>)));
        return frame_cache::allocate(size);
    }
    static void operator delete(void* p, std::size_t size) noexcept {
        if constexpr (over_aligned()) return ::operator delete(p, std::align_val_t(alignof(stored_t<T>)));
        frame_cache::deallocate(p, size);
    }
    static constexpr bool over_aligned() { return alignof(stored_t<T>) > __STDCPP_DEFAULT_NEW_ALIGNMENT__; }

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
            return awaitable_adapter<A>(std::forward<A>(a));
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
