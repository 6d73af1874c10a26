#pragma once

#include "child_job.hpp"
#include "trace.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>
#include <vector>

namespace sincpro {

namespace detail {

template <class T>
class with_timeout_operation final : public structured_operation, timer {
public:
    with_timeout_operation(task<T> t, clock::duration limit)
        : timer(&with_timeout_operation::expired), child_(std::move(t)), limit_(limit) {}
    with_timeout_operation(with_timeout_operation&& other) noexcept
        : timer(&with_timeout_operation::expired), child_(std::move(other.child_)), limit_(other.limit_) {}
    ~with_timeout_operation() { stop(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return true;
        if (limit_.count() > 0) {
            due = deadline_after(limit_);
            if (due != clock::time_point::max()) event_loop::of(*job_).add_timer(*this);
            if (run_children()) return true;
            stop();
        }
        unlink();
        return false;
    }
    T await_resume() {
        throw_if_cancelled();
        if (limit_.count() <= 0) throw make_timeout_error(limit_, true, {});
        if (timed_out_ && child_.error()) {
            try {
                std::rethrow_exception(child_.error());
            } catch (const operation_cancelled&) {
                throw make_timeout_error(limit_, true, std::move(suspended_at_));
            }
        }
        return std::move(child_.outcome).value();
    }

private:
    static void expired(timer& t) noexcept {
        auto& self = static_cast<with_timeout_operation&>(t);
        if (self.child_.cancelled) return;  // it ends anyway, and not because of the time
        self.timed_out_ = true;
        try {
            append_trace(self.child_, self.suspended_at_);
        } catch (const std::bad_alloc&) {
            self.suspended_at_.clear();  // the timeout is more important than where
        }
        self.stop_children();
    }
    void stop() noexcept {
        if (timer::queued()) event_loop::of(*job_).remove_timer(*this);
    }
    child_job* child(std::size_t i) noexcept override { return i == 0 ? &child_ : nullptr; }
    void child_finished(child_job&) noexcept override { stop(); }

    detail::child<T> child_;
    clock::duration limit_;
    bool timed_out_ = false;
    std::vector<await_location> suspended_at_;
};

}  // namespace detail

/// Runs `a`, and cancels it when it takes longer than `limit` on the steady clock, counted from the `co_await`. Waits
/// until it has ended, however long that takes, so `a` may refer to the caller's locals. (asyncio.timeout)
///
/// Gives what `a` ends with, also after the cancellation: only an operation_cancelled becomes a timeout_error then. With
/// a limit of zero or less `a` is not started. A huge one never ends it. Throws std::invalid_argument for NaN.
template <class A, class Duration>
[[nodiscard]] auto with_timeout(A&& a, Duration limit) {
    const detail::clock::duration saturated = detail::saturate(limit);
    return detail::with_timeout_operation<detail::task_result_t<A>>(detail::as_task(std::forward<A>(a)), saturated);
}

static_assert(awaitable<detail::with_timeout_operation<int>>);

}  // namespace sincpro
