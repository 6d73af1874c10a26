#pragma once

#include "config.hpp"

#include <chrono>
#include <string>

#if SINCPRO_DETAIL_DEFINITIONS
#include <bit>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

using clock = std::chrono::steady_clock;

// In parentheses, since <windows.h> makes macros of `max` and `min`.
inline constexpr clock::duration unlimited = (clock::duration::max)();
inline constexpr clock::time_point never = (clock::time_point::max)();
inline constexpr clock::time_point at_once = (clock::time_point::min)();

/// Later than this is never: 100 years, far from where nanoseconds overflow.
inline constexpr std::chrono::duration<double> horizon = std::chrono::hours(24 * 365 * 100);

/// Where `count` lies: beyond `limit`, before -`limit`, or between. Throws std::invalid_argument for NaN.
enum class horizon_side : unsigned char { within, beyond, before };
horizon_side side_of(double count, double limit);

/// Any duration as one of the steady clock, rounded up, `unlimited` for all beyond the horizon.
/// Throws std::invalid_argument for NaN.
template <class Rep, class Period>
clock::duration saturate(std::chrono::duration<Rep, Period> d) {
    // In the duration's own unit: a conversion of what is huge or infinite is not asked for.
    constexpr double in_this_unit = horizon.count() * Period::den / Period::num;
    const horizon_side side = side_of(static_cast<double>(d.count()), in_this_unit);
    if (side == horizon_side::beyond) return unlimited;
    if (side == horizon_side::before) return -std::chrono::duration_cast<clock::duration>(horizon);
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(d);  // apart, as a fraction's ticks overflow
    return std::chrono::ceil<clock::duration>(d - whole) + whole;
}

template <class T>
inline constexpr bool is_duration = false;
template <class Rep, class Period>
inline constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;
template <class T>
inline constexpr bool is_time_point = false;
template <class Clock, class Duration>
inline constexpr bool is_time_point<std::chrono::time_point<Clock, Duration>> = true;

/// Says of a T that stands where a duration is needed what to write instead.
template <class T>
constexpr void refuse_as_duration() {
    static_assert(is_time_point<T>, "a time needs a unit: write 5s or 500ms (using namespace std::chrono_literals)");
    static_assert(!is_time_point<T>, "this is a point in time: pass a duration, or to sleep write sleep_until(t)");
}

/// The same for a time of the steady clock.
template <class Duration>
clock::time_point saturate_time(std::chrono::time_point<clock, Duration> t) {
    return clock::time_point(saturate(t.time_since_epoch()));
}

inline clock::time_point deadline_after(clock::duration d) { return d == unlimited ? never : clock::now() + d; }

/// Waits on a condition variable until `condition()` is true or `until` has come. Returns the
/// condition.
template <class ConditionVariable, class Lock, class Condition>
bool wait_until(ConditionVariable& changed, Lock& lock, clock::time_point until, Condition condition) {
    if (until == never) {
        changed.wait(lock, condition);
        return true;
    }
    if (until <= clock::now()) return condition();  // MinGW would wait for ever for a time that is long over
    return changed.wait_until(lock, until, condition);
}

/// "1.5 s", "20 ms", "3 min": at most three digits after the point, in the largest unit that leaves one before it.
std::string to_text(clock::duration d);

#if SINCPRO_DETAIL_DEFINITIONS

// Asks the bits: with -ffast-math the compiler may take for granted that there are no infinities and no NaN. As integers
// positive numbers have the same order, then comes infinity, then NaN.
SINCPRO_DETAIL_INLINE horizon_side side_of(double count, double limit) {
    constexpr std::uint64_t sign = std::uint64_t{1} << 63, infinity = std::uint64_t{0x7ff} << 52;
    const auto bits = std::bit_cast<std::uint64_t>(count);
    if ((bits & ~sign) > infinity) throw std::invalid_argument("sincpro: a duration is not a number (NaN)");
    if ((bits & ~sign) < std::bit_cast<std::uint64_t>(limit)) return horizon_side::within;
    return (bits & sign) != 0 ? horizon_side::before : horizon_side::beyond;
}

SINCPRO_DETAIL_COLD std::string to_text(clock::duration d) {
    struct unit {
        double seconds;
        const char* name;
    };
    static constexpr unit units[] = {{3600, " h"},  {60, " min"},  {1, " s"},
                                     {1e-3, " ms"}, {1e-6, " us"}, {1e-9, " ns"}};
    const double seconds = std::chrono::duration<double>(d).count();
    const double size = seconds < 0 ? -seconds : seconds;
    if (size == 0) return "0 s";
    const unit* in = units;
    // An hour and a half is "90 min", not "1.5 h": hours and minutes are for round numbers and long times.
    while (in != &units[5] && size < in->seconds * (in->seconds >= 60 ? 2 : 0.9999995)) ++in;
    char digits[64];
    std::snprintf(digits, sizeof digits, "%.3f", seconds / in->seconds);
    std::string text = digits;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text += in->name;
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
