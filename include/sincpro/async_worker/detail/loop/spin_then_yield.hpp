#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"

#include <chrono>
#include <thread>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// How long a thread yields its processor to whoever is about to bring what it waits for, before it goes to sleep: 20 us,
/// and at least 8 times. On an idle machine that is 5 to 50 times faster than a sleep and a wake-up. On a busy one a yield
/// gives a whole time slice away, and a call took 10 ms: after a yield that lasted 1 ms this thread does not yield for 50
/// times as long.
class yield_budget {
public:
    /// False if this thread does not yield at present.
    bool begin() noexcept;
    /// Yields. False if the budget is used up.
    bool yield() noexcept;

private:
    clock::time_point begun_, before_;
    int yields_ = 0;
};

/// Waits for `condition()` within the yield budget. True if it has become true.
template <class Condition>
bool spin_then_yield(Condition condition) noexcept {
    if (condition()) return true;
    yield_budget budget;
    if (!budget.begin()) return false;
    while (true) {
        const bool may_go_on = budget.yield();
        if (condition()) return true;
        if (!may_go_on) return false;
    }
}

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE clock::time_point& no_yield_until() noexcept {
    static constinit thread_local clock::time_point until{};
    return until;
}

SINCPRO_DETAIL_INLINE bool yield_budget::begin() noexcept {
    begun_ = before_ = clock::now();
    return begun_ >= no_yield_until();
}
SINCPRO_DETAIL_INLINE bool yield_budget::yield() noexcept {
    std::this_thread::yield();
    const clock::time_point now = clock::now();
    const clock::duration took = now - std::exchange(before_, now);
    if (took > std::chrono::milliseconds(1)) {
        no_yield_until() = now + 50 * took;
        return false;
    }
    return ++yields_ < 8 || now - begun_ <= std::chrono::microseconds(20);
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
