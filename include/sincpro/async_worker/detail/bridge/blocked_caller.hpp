#pragma once

#include "../base/config.hpp"

#if SINCPRO_DETAIL_DEFINITIONS

#include "../base/duration.hpp"
#include "../base/intrusive_ptr.hpp"
#include "shared_state.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// The thread that is blocked in run(). It sleeps in a condition variable, which pthread_cancel() wakes, and not in the
/// std::future, which it does not. Also owned by the task while it sleeps, so that who wakes it can do that when it has left
/// the mutex.
class blocked_caller final : public ref_counted<blocked_caller> {
public:
    ~blocked_caller() = default;

    /// True when the outcome of `s` is published.
    bool wait_until(shared_state& s, clock::time_point until) {
        if (!s.begin_sleep(*this)) return true;
        std::unique_lock lock(mutex_);
        struct end_in_any_way {
            ~end_in_any_way() {
                if (!caller.woken_ && !state.end_sleep()) {
                    caller.changed_.wait(lock, [this] { return caller.woken_; });
                }
            }
            blocked_caller& caller;
            shared_state& state;
            std::unique_lock<std::mutex>& lock;
        } const scope{*this, s, lock};
        // A time even for never: wait() terminates a thread that is cancelled before GCC 12.
        for (auto now = clock::now(); !woken_ && now < until; now = clock::now()) {
            const auto a_day_later = now + std::chrono::hours(24);
            changed_.wait_until(lock, until < a_day_later ? until : a_day_later);
        }
        return woken_;
    }

    void wake() noexcept {
        {
            const std::lock_guard lock(mutex_);
            woken_ = true;
        }
        changed_.notify_one();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

SINCPRO_DETAIL_INLINE bool shared_state::begin_sleep(blocked_caller& c) noexcept {
    caller_ = share(c).detach();
    phase pending = phase::pending;
    if (phase_.compare_exchange_strong(pending, phase::caller_sleeps, std::memory_order_acq_rel)) return true;
    c.release();
    return false;
}
SINCPRO_DETAIL_INLINE bool shared_state::end_sleep() noexcept {
    phase sleeps = phase::caller_sleeps;
    if (!phase_.compare_exchange_strong(sleeps, phase::pending, std::memory_order_acq_rel)) return false;
    caller_->release();
    return true;
}
SINCPRO_DETAIL_INLINE void shared_state::end_publish() noexcept {
    if (phase_.exchange(phase::published, std::memory_order_acq_rel) == phase::caller_sleeps) {
        const intrusive_ptr<blocked_caller> caller(caller_);
        caller->wake();
    } else if (!blocks_caller) {
        phase_.notify_all();
    }
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
