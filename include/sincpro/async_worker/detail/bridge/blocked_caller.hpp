#pragma once

#include "../base/config.hpp"

#if SINCPRO_DETAIL_DEFINITIONS

#include "../base/duration.hpp"
#include "shared_state.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// The thread that is blocked in run(), on its stack. It sleeps in a condition variable, which pthread_cancel() wakes, and
/// not in the std::future, which it does not.
class blocked_caller {
public:
    explicit blocked_caller(shared_state& s) noexcept : state_(s) {}
    blocked_caller(const blocked_caller&) = delete;
    blocked_caller& operator=(const blocked_caller&) = delete;

    /// True when the outcome is published.
    bool wait_until(clock::time_point until) {
        if (!state_.begin_sleep(*this)) return true;
        std::unique_lock lock(mutex_);
        struct end_in_any_way {
            ~end_in_any_way() {
                if (!of.woken_ && !of.state_.end_sleep()) of.changed_.wait(lock, [this] { return of.woken_; });
            }
            blocked_caller& of;
            std::unique_lock<std::mutex>& lock;
        } const scope{*this, lock};
        // A time even for never: wait() terminates a thread that is cancelled before GCC 12.
        for (auto now = clock::now(); !woken_ && now < until; now = clock::now()) {
            changed_.wait_until(lock, (std::min)(until, now + std::chrono::hours(24)));
        }
        return woken_;
    }

    /// By whoever has published. This may be gone when it returns.
    void wake() noexcept {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        changed_.notify_one();
    }

private:
    shared_state& state_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

SINCPRO_DETAIL_INLINE bool shared_state::begin_sleep(blocked_caller& c) noexcept {
    caller_ = &c;
    phase pending = phase::pending;
    return phase_.compare_exchange_strong(pending, phase::caller_sleeps, std::memory_order_acq_rel);
}
SINCPRO_DETAIL_INLINE bool shared_state::end_sleep() noexcept {
    phase sleeps = phase::caller_sleeps;
    return phase_.compare_exchange_strong(sleeps, phase::pending, std::memory_order_acq_rel);
}
SINCPRO_DETAIL_INLINE void shared_state::end_publish() noexcept {
    if (phase_.exchange(phase::published, std::memory_order_acq_rel) == phase::caller_sleeps) {
        caller_->wake();
    } else {
        phase_.notify_all();
    }
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
