#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/base/duration.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/structured_operation.hpp"
#include "detail/loop/timing_wheel.hpp"
#include "errors.hpp"
#include "task.hpp"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/coroutine/async_stack_trace.hpp"
#include "detail/loop/event_loop.hpp"

#include <new>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// What does not depend on the operand's result.
class timed_operation : public structured_operation, timer {
public:
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        return !begin(h) || start();
    }

protected:
    explicit timed_operation(clock::duration limit) noexcept : timer(&timed_operation::expired), limit_(limit) {}
    timed_operation(timed_operation&& other) noexcept : timed_operation(other.limit_) {}
    ~timed_operation() { stop_timer(); }

    /// Throws what ended the whole instead of the operand's `error`, if anything did.
    void check(const std::exception_ptr& error);

private:
    bool start() noexcept;
    void stop_timer() noexcept;
    static void expired(timer& t) noexcept;
    void child_ended(child_job&) noexcept override { stop_timer(); }

    clock::duration limit_;
    bool timed_out_ = false;
    std::vector<await_location> suspended_at_;
};

template <class T>
class with_timeout_operation final : public timed_operation {
public:
    with_timeout_operation(task<T> t, clock::duration limit) : timed_operation(limit), child_(std::move(t)) {}

    T await_resume() {
        check(child_.error());
        return std::move(child_.outcome).value();
    }

private:
    child_job* child(std::size_t i) noexcept override { return i == 0 ? &child_ : nullptr; }

    detail::child<T> child_;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE bool timed_operation::start() noexcept {
    if (limit_.count() > 0) {
        due = deadline_after(limit_);
        if (due != never) loop_->add_timer(*this);
        if (run_children()) return true;
        stop_timer();
    }
    return ready_at_once();
}
SINCPRO_DETAIL_INLINE void timed_operation::stop_timer() noexcept {
    if (timer::is_queued()) loop_->remove_timer(*this);
}

SINCPRO_DETAIL_INLINE void timed_operation::expired(timer& t) noexcept {
    auto& self = static_cast<timed_operation&>(t);
    child_job& c = *self.child(0);
    if (c.cancelled) return;  // it ends anyway, and not because of the time
    self.timed_out_ = true;
    try {
        append_trace(c, self.suspended_at_);
    } catch (const std::bad_alloc&) {
        self.suspended_at_.clear();  // the timeout is more important than where
    }
    self.stop_children();
}

SINCPRO_DETAIL_INLINE void timed_operation::check(const std::exception_ptr& error) {
    throw_if_cancelled();
    if (limit_.count() <= 0) throw make_timeout_error(limit_, true, {});
    if (timed_out_ && error && is_cancellation(error)) {
        throw make_timeout_error(limit_, true, std::move(suspended_at_));
    }
}

#endif

}  // namespace detail

/// Runs `a`, and cancels it when it takes longer than `limit` on the steady clock, counted from the `co_await`. Waits
/// until it has ended, however long that takes, so `a` may refer to the caller's locals. (asyncio.timeout)
///
/// Gives what `a` ends with, also after the cancellation: only an operation_cancelled becomes a timeout_error then. With
/// a limit of zero or less `a` is not started. A huge one never ends it. Throws std::invalid_argument for NaN.
template <class A, class Rep, class Period>
[[nodiscard]] auto with_timeout(A&& a, std::chrono::duration<Rep, Period> limit) {
    const detail::clock::duration saturated = detail::saturate(limit);
    return detail::with_timeout_operation<detail::task_result_t<A>>(detail::as_operand(std::forward<A>(a)), saturated);
}

/// Says of what is no duration what to write instead.
template <class A, class T>
    requires(!detail::is_duration<T>)
[[nodiscard]] auto with_timeout(A&&, const T&) {
    detail::refuse_as_duration<T>();
    return detail::misused();
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
