#pragma once

#include "awaitable.hpp"
#include "duration.hpp"
#include "event_loop.hpp"

#include <chrono>
#include <coroutine>
#include <type_traits>

namespace sincpro {

namespace detail {

/// Waits for a time, or for a duration that begins when it is awaited.
class sleep_operation final : public operation, timer {
public:
    explicit sleep_operation(clock::duration d) noexcept : timer(&sleep_operation::fired), duration_(d) {}
    explicit sleep_operation(clock::time_point t) noexcept : timer(&sleep_operation::fired), until_(t) {}
    sleep_operation(const sleep_operation& other) noexcept
        : operation(other), timer(&sleep_operation::fired), duration_(other.duration_), until_(other.until_) {}
    ~sleep_operation() { stop(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return;
        due = until_ != clock::time_point() ? until_ : deadline_after(duration_);
        if (due == clock::time_point::max()) return;  // only a cancellation ends it
        event_loop::of(*job_).add_timer(*this);
    }
    void await_resume() const { throw_if_cancelled(); }

    void cancel(cancel_list&) noexcept override {
        stop();
        complete_cancelled();
    }

private:
    static void fired(timer& t) noexcept { static_cast<sleep_operation&>(t).complete(); }
    void stop() noexcept {
        if (timer::queued()) event_loop::of(*job_).remove_timer(*this);
    }

    clock::duration duration_{};
    clock::time_point until_{};
};

class yield_operation final : public operation {
public:
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (begin(h)) complete();
    }
    void await_resume() const { throw_if_cancelled(); }
    void cancel(cancel_list&) noexcept override {}
};

}  // namespace detail

/// Suspends the task for `d` on the steady clock, counted from the `co_await`; never shorter. With zero or less it lets
/// everything else that is ready run once. An infinite or huge `d` waits for a cancellation. (asyncio.sleep)
/// Throws std::invalid_argument for NaN, and at the `co_await` operation_cancelled.
template <class Duration>
[[nodiscard]] auto sleep_for(Duration d) {
    return detail::sleep_operation(detail::saturate(d));
}

/// Suspends the task until `t`, a time of std::chrono::steady_clock; if that has passed it lets everything else that is
/// ready run once.
template <class Duration>
[[nodiscard]] auto sleep_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return detail::sleep_operation(detail::saturate_time(t));
}
/// Says of a time of another clock what is wrong with it.
template <class T>
    requires detail::is_time_point<T>
[[nodiscard]] detail::sleep_operation sleep_until(const T&) {
    static_assert(std::is_void_v<T>, "sleep_until takes a time of std::chrono::steady_clock, which is never set");
    return detail::sleep_operation(detail::clock::duration());
}

/// Lets everything else that is ready run once. (asyncio.sleep(0))
[[nodiscard]] inline auto yield() noexcept { return detail::yield_operation(); }

static_assert(awaitable<detail::sleep_operation> && awaitable<detail::yield_operation>);

}  // namespace sincpro
