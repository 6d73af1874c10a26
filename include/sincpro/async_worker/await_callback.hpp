#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/base/diagnostics.hpp"
#include "detail/base/function.hpp"
#include "detail/coroutine/callback_state.hpp"
#include "detail/coroutine/operation.hpp"
#include "result.hpp"

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

template <class T = void>
class completion;

namespace detail {

template <class T, class Initiate>
class callback_operation;

template <class T>
class completion_base {
public:
    completion_base(const completion_base& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) state_->add_completion();
    }
    completion_base(completion_base&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    completion_base& operator=(completion_base other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~completion_base() {
        if (state_ != nullptr) state_->release_completion();
    }

    /// Ends the await with an exception instead. True if the task will get it. A null pointer becomes a std::logic_error.
    /// Any thread.
    bool fail(std::exception_ptr error) const { return state_ != nullptr && state_->fail(std::move(error)); }

    /// Sets what aborts the operation that was begun, if the task is cancelled before it is completed: `f` then runs on
    /// the worker thread as part of the task and must not throw, and the task goes on only when the completion is called or
    /// dropped, so what lives in its frame is valid until then. A value that comes nevertheless is the result; a failure is
    /// operation_cancelled. False, and `f` is dropped, if the await has ended already. Any thread.
    bool on_cancel(std::function<void()> f) const { return state_ != nullptr && state_->on_cancel(std::move(f)); }

protected:
    explicit completion_base(callback_state_of<T>& s) noexcept : state_(&s) {}

    /// Makes the value of `value`. True if the task will get it.
    template <class... Value>
    bool complete(Value&&... value) const {
        if (state_ == nullptr) return false;
        auto store = [&](callback_state& s) {
            result_access::set_value(static_cast<callback_state_of<T>&>(s).outcome, std::forward<Value>(value)...);
        };
        using store_type = decltype(store);
        return state_->complete(
            true, [](void* context, callback_state& s) { (*static_cast<store_type*>(context))(s); },
            std::addressof(store));
    }

private:
    callback_state_of<T>* state_;
};

}  // namespace detail

/// What resumes a task that awaits a callback. Copies are one: the first call on any of them, from any thread, counts; it
/// returns true if the task will get the value. Later calls, and calls after the task was cancelled, do nothing. When the
/// last copy is dropped without a call the task gets std::future_error(broken_promise).
///
/// `fail(std::exception_ptr)` is a call too: the task gets the exception. `on_cancel(f)` sets what aborts the operation that
/// was begun: if the task is cancelled first, `f` runs on the worker thread as part of the task, must not throw nor destroy a
/// coroutine that waits, and the task goes on only when the completion is called or dropped; a value that it is called with
/// even then is the result. It returns false, and drops `f`, if the await has ended already.
template <class T>
class completion : public detail::completion_base<T> {
public:
    /// Resumes the task with `value`. True if the task will get it.
    template <class U = T>
        requires std::convertible_to<U, T>
    bool operator()(U&& value) const { return this->complete(std::forward<U>(value)); }

private:
    template <class, class>
    friend class detail::callback_operation;
    using detail::completion_base<T>::completion_base;
};

/// Of a task that awaits a reference.
template <class T>
class completion<T&> : public detail::completion_base<T&> {
public:
    /// Resumes the task with a reference to `value`. True if the task will get it.
    bool operator()(T& value) const { return this->complete(std::addressof(value)); }

private:
    template <class, class>
    friend class detail::callback_operation;
    using detail::completion_base<T&>::completion_base;
};

/// Of a task that awaits a call without a value.
template <>
class completion<void> : public detail::completion_base<void> {
public:
    /// Resumes the task. True if the task will notice.
    bool operator()() const { return complete(); }

private:
    template <class, class>
    friend class detail::callback_operation;
    using detail::completion_base<void>::completion_base;
};

namespace detail {

template <class T, class Initiate>
class callback_operation final : public operation {
public:
    explicit callback_operation(Initiate i) : initiate_(std::move(i)) {}
    callback_operation(callback_operation&& other) : operation(other), initiate_(std::move(other.initiate_)) {}
    ~callback_operation() {
        if (state_ == nullptr) return;
        if (is_in_job()) state_->leave();
        state_->release();
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return true;
        if (state_ != nullptr) std::exchange(state_, nullptr)->release();  // it is awaited again
        try {
            state_ = new callback_state_of<T>;
        } catch (...) {
            leave_job();
            throw;
        }
        try {
            std::move(initiate_)(completion<T>(*state_));
        } catch (...) {
            state_->end_with_current_exception();
        }
        return state_->wait(*this, *loop_) || ready_at_once();
    }
    T await_resume() {
        throw_if_cancelled();
        state_->throw_if_cancelled();
        return result_access::take(state_->outcome);  // here: a completion that is kept must not keep what it brought
    }
    void cancel(cancel_list&) noexcept override {
        if (state_->cancel(*job_)) complete_cancelled();
    }

private:
    Initiate initiate_;
    callback_state_of<T>* state_ = nullptr;
};

}  // namespace detail

/// Awaits a callback of another library. `initiate(completion<T>)` is called once on the worker thread; it begins the
/// operation and sees to it that the completion is called, now, later or on another thread. The task goes on with the value
/// on the worker thread. What `initiate` throws is thrown by the `co_await`.
///
/// `initiate` lives until the task goes on. A cancelled task goes on at once, unless completion::on_cancel was set: what
/// the other library still writes to must not be in the task's frame then. (asyncio.Future, asio::async_initiate)
template <class T = void, class Initiate>
[[nodiscard]] auto await_callback(Initiate&& initiate) {
    detail::check_temporaries<Initiate>();
    static_assert(std::is_invocable_v<std::decay_t<Initiate>, completion<T>>,
                  "await_callback<T>(initiate): initiate must be callable with a completion<T>");
    if constexpr (std::is_invocable_v<std::decay_t<Initiate>, completion<T>>) {
        return detail::callback_operation<T, std::decay_t<Initiate>>(std::forward<Initiate>(initiate));
    } else {
        return detail::misused::instead<T>();
    }
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
