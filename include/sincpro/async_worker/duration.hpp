#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

namespace sincpro::detail {

using clock = std::chrono::steady_clock;

/// Later than this is never: 100 years, far from where nanoseconds overflow.
inline constexpr std::chrono::duration<double> horizon = std::chrono::hours(24 * 365 * 100);

/// Any duration as one of the steady clock, rounded up, `max()` for all beyond the horizon.
/// Throws std::invalid_argument for NaN.
template <class Rep, class Period>
clock::duration saturate(std::chrono::duration<Rep, Period> d) {
    const auto seconds = std::chrono::duration<double>(d);
    if (seconds != seconds) throw std::invalid_argument("sincpro: a duration is not a number (NaN)");
    if (seconds >= horizon) return clock::duration::max();
    if (seconds <= -horizon) return -std::chrono::duration_cast<clock::duration>(horizon);
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(d);  // apart, as a fraction's ticks overflow
    return std::chrono::ceil<clock::duration>(d - whole) + whole;
}

template <class T>
inline constexpr bool is_time_point = false;
template <class Clock, class Duration>
inline constexpr bool is_time_point<std::chrono::time_point<Clock, Duration>> = true;

template <class T>
clock::duration saturate(const T&) {
    static_assert(is_time_point<T>, "a time needs a unit: write 5s or 500ms (using namespace std::chrono_literals)");
    static_assert(!is_time_point<T>, "this is a point in time: pass a duration, or to sleep write sleep_until(t)");
    return {};
}

/// The same for a time of the steady clock.
template <class Duration>
clock::time_point saturate_time(std::chrono::time_point<clock, Duration> t) {
    return clock::time_point(saturate(t.time_since_epoch()));
}

/// `time_point::max()` means never.
inline clock::time_point deadline_after(clock::duration d) {
    return d == clock::duration::max() ? clock::time_point::max() : clock::now() + d;
}

/// Waits on a condition variable; `time_point::max()` means for ever. True if it is `there()`.
template <class Changed, class Lock, class Condition>
bool wait_until_there(Changed& changed, Lock& lock, clock::time_point until, Condition there) {
    if (until == clock::time_point::max()) {
        changed.wait(lock, there);
        return true;
    }
    if (until <= clock::now()) return there();  // MinGW would wait for ever for what is long over
    return changed.wait_until(lock, until, there);
}

/// "1.5 s", "20 ms", "3 min": at most three digits after the point, in the largest unit that leaves one before it.
inline std::string to_text(clock::duration d) {
    struct unit {
        double seconds;
        const char* name;
    };
    static constexpr unit units[] = {{3600, " h"},  {60, " min"},  {1, " s"},
                                     {1e-3, " ms"}, {1e-6, " us"}, {1e-9, " ns"}};
    const double seconds = std::chrono::duration<double>(d).count();
    const double size = seconds < 0 ? -seconds : seconds;
    if (size == 0) return "0 s";
    unit in = units[5];
    for (const unit& candidate : units) {
        // An hour and a half is "90 min", not "1.5 h": hours and minutes are for round numbers and long times.
        if (size < candidate.seconds * (candidate.seconds >= 60 ? 2 : 0.9999995)) continue;
        in = candidate;
        break;
    }
    auto thousandths = static_cast<long long>(size / in.seconds * 1000 + 0.5);
    std::string text = (seconds < 0 ? "-" : "") + std::to_string(thousandths / 1000);
    if (thousandths %= 1000; thousandths != 0) {
        std::string digits = std::to_string(1000 + thousandths).substr(1);
        digits.erase(digits.find_last_not_of('0') + 1);
        text += '.' + digits;
    }
    return text + in.name;
}

}  // namespace sincpro::detail
