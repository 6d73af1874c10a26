#pragma once

#include "cancellation.hpp"
#include "errors.hpp"
#include "frame_pool.hpp"
#include "result.hpp"

#include <atomic>
#include <concepts>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace sincpro {

template <class T = void>
class completion;

namespace detail {

template <class T, class Initiate>
class callback_operation;

/// What a task that awaits a callback and the holders of its completion share.
template <class T>
class callback_state : public recycled {
public:
    using hook = std::function<void()>;

    /// True if the task will get what `store` puts into its outcome.
    template <class Store>
    bool complete(Store store) {
        hook dropped;  // after the lock is let go: it may hold the last completion
        const std::lock_guard lock(mutex_);
        if (phase_ != phase::pending && phase_ != phase::aborting) return false;
        const bool wanted = phase_ == phase::pending;
        if (wanted) store(outcome_);
        phase_ = wanted ? phase::completed : phase::cancelled;
        dropped.swap(abort_);
        if (waiter_ != nullptr) executor_->post(*std::exchange(waiter_, nullptr));
        return wanted;
    }
    void abandoned() noexcept {
        complete([](result<T>& r) { r.fail(exception_of<std::future_error>(std::future_errc::broken_promise)); });
    }
    bool on_cancel(hook abort) {
        const std::lock_guard lock(mutex_);
        if (phase_ != phase::pending) return false;
        abort_.swap(abort);
        return true;
    }

    // What follows is for the task's operation, on the worker thread.

    /// False if the callback has come already.
    bool wait(operation& o, job& j) noexcept {
        const std::lock_guard lock(mutex_);
        if (phase_ != phase::pending) return false;
        waiter_ = &o;
        executor_ = j.loop;
        return true;
    }
    /// True if the task may go on at once; else the callback will resume it.
    bool cancel() noexcept {
        hook abort;
        {
            const std::lock_guard lock(mutex_);
            if (phase_ != phase::pending) return false;
            abort.swap(abort_);
            phase_ = abort ? phase::aborting : phase::cancelled;
            if (!abort) waiter_ = nullptr;
        }
        if (!abort) return true;
        abort();
        return false;
    }
    /// The operation ends without having been resumed.
    void leave() noexcept {
        hook dropped;
        const std::lock_guard lock(mutex_);
        dropped.swap(abort_);
        if (phase_ != phase::completed) phase_ = phase::cancelled;
        waiter_ = nullptr;
    }
    T take() {
        {
            const std::lock_guard lock(mutex_);
            if (phase_ != phase::completed) throw operation_cancelled();
        }
        return take_out(outcome_);  // on this thread: a completion that is kept must not keep what it brought
    }

    void hold(std::atomic<unsigned>& count) noexcept { count.fetch_add(1, std::memory_order_relaxed); }
    bool drop(std::atomic<unsigned>& count) noexcept { return count.fetch_sub(1, std::memory_order_acq_rel) == 1; }
    void drop_state() noexcept {
        if (drop(states)) delete this;
    }

    std::atomic<unsigned> completions{0};  // copies of the completion
    std::atomic<unsigned> states{1};       // the operation, and one for all completions

private:
    enum class phase : unsigned char { pending, completed, aborting, cancelled };

    std::mutex mutex_;
    phase phase_ = phase::pending;
    operation* waiter_ = nullptr;
    executor* executor_ = nullptr;
    hook abort_;
    result<T> outcome_;
};

template <class T>
class completion_base {
public:
    completion_base(const completion_base& other) noexcept : state_(other.state_) {
        if (state_ != nullptr) state_->hold(state_->completions);
    }
    completion_base(completion_base&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    completion_base& operator=(completion_base other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~completion_base() {
        if (state_ == nullptr || !state_->drop(state_->completions)) return;
        state_->abandoned();
        state_->drop_state();
    }

    /// Ends the await with an exception instead. True if the task will get it. A null pointer becomes a std::logic_error.
    bool fail(std::exception_ptr error) const {
        if (!error)
            error = exception_of<std::logic_error>("sincpro: completion::fail() was called without an exception");
        return state_ != nullptr && state_->complete([&](result<T>& r) { r.fail(std::move(error)); });
    }

    /// Sets what aborts the operation that was begun, if the task is cancelled before it is completed: `f` then runs on
    /// the worker thread and must not throw, and the task goes on only when the completion is called or dropped, so what
    /// lives in its frame is valid until then. False, and `f` is dropped, if the await has ended already.
    bool on_cancel(std::function<void()> f) const { return state_ != nullptr && state_->on_cancel(std::move(f)); }

protected:
    explicit completion_base(callback_state<T>& s) noexcept : state_(&s) {
        s.hold(s.completions);
        s.hold(s.states);
    }
    callback_state<T>* state_;
};

}  // namespace detail

/// What resumes a task that awaits a callback. Copies are one: the first call on any of them, from any thread, counts; it
/// returns true if the task will get the value. Later calls, and calls after the task was cancelled, do nothing. When the
/// last copy is dropped without a call the task gets std::future_error(broken_promise).
///
/// `fail(std::exception_ptr)` is a call too: the task gets the exception. `on_cancel(f)` sets what aborts the operation that
/// was begun: if the task is cancelled first, `f` runs on the worker thread, must not throw nor destroy a coroutine that
/// waits, and the task goes on only when the completion is called or dropped. It returns false, and drops `f`, if the await
/// has ended already.
template <class T>
class completion : public detail::completion_base<T> {
public:
    /// Resumes the task with `value`. True if the task will get it.
    template <class U = T>
        requires std::convertible_to<U, T>
    bool operator()(U&& value) const {
        return this->state_ != nullptr &&
               this->state_->complete([&](result<T>& r) { r.emplace(std::forward<U>(value)); });
    }

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
    bool operator()(T& value) const {
        return this->state_ != nullptr &&
               this->state_->complete([&](result<T&>& r) { r.emplace(std::addressof(value)); });
    }

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
    bool operator()() const {
        return state_ != nullptr && state_->complete([](result<void>& r) { r.emplace(); });
    }

private:
    template <class, class>
    friend class detail::callback_operation;
    using detail::completion_base<void>::completion_base;
};

}  // namespace sincpro
