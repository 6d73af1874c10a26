#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/base/duration.hpp"
#include "detail/coroutine/operation.hpp"
#include "detail/loop/timing_wheel.hpp"

#include <chrono>
#include <coroutine>
#include <type_traits>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/loop/event_loop.hpp"
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// Waits for a time, or for a duration that begins when it is awaited.
class sleep_operation final : public operation, timer {
public:
    explicit sleep_operation(clock::duration d) noexcept : timer(&sleep_operation::fired), duration_(d) {}
    explicit sleep_operation(clock::time_point t) noexcept : timer(&sleep_operation::fired), until_(t) {}
    sleep_operation(const sleep_operation& other) noexcept
        : operation(other), timer(&sleep_operation::fired), duration_(other.duration_), until_(other.until_) {}
    ~sleep_operation() { stop_timer(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (begin(h)) start_timer();
    }
    void await_resume() const { throw_if_cancelled(); }

    SINCPRO_DETAIL_INLINE void cancel(cancel_list&) noexcept override;

private:
    static void fired(timer& t) noexcept;
    void start_timer() noexcept;
    void stop_timer() noexcept;

    clock::duration duration_{};
    clock::time_point until_{};
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE void sleep_operation::start_timer() noexcept {
    due = until_ != clock::time_point() ? until_ : deadline_after(duration_);
    if (due != never) loop_->add_timer(*this);  // else only a cancellation ends it
}
SINCPRO_DETAIL_INLINE void sleep_operation::stop_timer() noexcept {
    if (timer::is_queued()) loop_->remove_timer(*this);
}
SINCPRO_DETAIL_INLINE void sleep_operation::fired(timer& t) noexcept { static_cast<sleep_operation&>(t).complete(); }
SINCPRO_DETAIL_INLINE void sleep_operation::cancel(cancel_list&) noexcept {
    stop_timer();
    complete_cancelled();
}

#endif

}  // namespace detail

/// Suspends the task for `d` on the steady clock, counted from the `co_await`; never shorter. With zero or less it lets
/// everything else that is ready run once. An infinite or huge `d` waits for a cancellation. (asyncio.sleep)
/// Throws std::invalid_argument for NaN, and at the `co_await` operation_cancelled.
template <class Rep, class Period>
[[nodiscard]] auto sleep_for(std::chrono::duration<Rep, Period> d) {
    return detail::sleep_operation(detail::saturate(d));
}
/// Says of what is no duration what to write instead.
template <class T>
    requires(!detail::is_duration<T>)
[[nodiscard]] detail::sleep_operation sleep_for(const T&) {
    detail::refuse_as_duration<T>();
    return detail::sleep_operation(detail::clock::duration());
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

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
