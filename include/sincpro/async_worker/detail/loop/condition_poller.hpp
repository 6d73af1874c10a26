#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "descriptor.hpp"

#if defined(SINCPRO_DETAIL_POLLER_CONDITION) && SINCPRO_DETAIL_DEFINITIONS

#include <condition_variable>
#include <mutex>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Sleeps on a condition variable, for systems without descriptors. Members as those of epoll_poller.
class condition_poller {
public:
    void wake() noexcept {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        changed_.notify_one();
    }
    bool in_use() const noexcept { return false; }
    void wait(clock::time_point until) {
        std::unique_lock lock(mutex_);
        const auto woken = [this] { return woken_; };
        wait_until(changed_, lock, until, woken);
        woken_ = false;
    }
    void close_descriptors() noexcept {}

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
