#pragma once

#include "detail/base/config.hpp"
#include "detail/coroutine/task_promise.hpp"

#include <coroutine>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

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
    /// As above, for what awaits lvalues: once too. In a task it is refused, write co_await std::move(t).
    auto operator co_await() & { return std::move(*this).operator co_await(); }

private:
    friend promise_type;
    friend detail::task_access;

    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    void reset() noexcept {
        if (const auto frame = std::exchange(frame_, nullptr)) detail::destroy_frame(frame, frame.promise());
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

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
