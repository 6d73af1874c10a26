#include <sincpro/async_worker/detail/base/duration.hpp>

#include <sincpro/async_worker/errors.hpp>
#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/with_timeout.hpp>
#include <sincpro/async_worker/worker.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/thrown.hpp"

// What the library does with a duration, through the calls that take one.

namespace {

using namespace std::chrono_literals;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::task;
using sincpro::timeout_error;
using sincpro::with_timeout;
using std::chrono::duration;
using std::chrono::steady_clock;
using support::thrown;

using float_seconds = duration<float>;
using days = duration<std::int64_t, std::ratio<86'400>>;
using small_days = duration<std::int16_t, std::ratio<86'400>>;
using billions_of_seconds = duration<std::int64_t, std::giga>;
using picoseconds = duration<std::int64_t, std::pico>;

template <class Duration>
constexpr Duration not_a_number{std::numeric_limits<typename Duration::rep>::quiet_NaN()};
template <class Duration>
constexpr Duration infinite{std::numeric_limits<typename Duration::rep>::infinity()};

task<int> answer() {
    co_await sincpro::yield();
    co_return 42;
}

template <class Duration>
task<> sleeps(Duration time) {
    co_await sleep_for(time);
}

/// True if that sleep goes on until something else ends it. One that ended by itself would do so before the deadline.
template <class Duration>
bool sleeps_on(Duration time) {
    try {
        run_async_task(sleeps(time), 30ms);
    } catch (const timeout_error&) {
        return true;
    }
    return false;
}

template <class Duration>
steady_clock::duration time_of_sleep(Duration time) {
    const auto from = steady_clock::now();
    run_async_task(sleeps(time));
    return steady_clock::now() - from;
}

template <class Duration>
std::string timeout_text(Duration timeout) {
    return thrown<timeout_error>([&] { return (run_async_task(sleeps(24h), timeout), 0); }).what();
}

}  // namespace

TEMPLATE_TEST_CASE("NaN is std::invalid_argument", "", duration<double>, float_seconds, duration<long double>,
                   (duration<double, std::milli>)) {
    const auto nan = not_a_number<TestType>;
    CHECK_THROWS_AS(run_async_task(answer(), nan), std::invalid_argument);
    CHECK_THROWS_AS(run_async_task([&]() -> task<> { co_await sleep_for(nan); }), std::invalid_argument);
    CHECK_THROWS_AS(run_async_task([&]() -> task<int> { co_return co_await with_timeout(answer(), nan); }),
                    std::invalid_argument);
    CHECK(run_async_task(answer()) == 42);
}

TEMPLATE_TEST_CASE("infinity is no deadline and a sleep without end", "", duration<double>, float_seconds,
                   duration<long double>, (duration<double, std::nano>)) {
    const auto forever = infinite<TestType>;
    CHECK(run_async_task(answer(), forever) == 42);
    CHECK(run_async_task([&]() -> task<int> { co_return co_await with_timeout(answer(), forever); }) == 42);
    CHECK(sleeps_on(forever));
    CHECK(run_async_task(answer(), TestType::max()) == 42);
    CHECK(sleeps_on(TestType::max()));
}

TEMPLATE_TEST_CASE("the largest duration of every unit is no deadline and a sleep without end", "",
                   std::chrono::nanoseconds, std::chrono::microseconds, std::chrono::milliseconds, std::chrono::seconds,
                   std::chrono::minutes, std::chrono::hours, days, small_days, billions_of_seconds,
                   (duration<std::uint64_t, std::nano>), (duration<std::uint64_t, std::ratio<3'600>>)) {
    CHECK(run_async_task(answer(), TestType::max()) == 42);
    CHECK(run_async_task([]() -> task<int> { co_return co_await with_timeout(answer(), TestType::max()); }) == 42);
    CHECK(sleeps_on(TestType::max()));
    // Just below, where a sum with the time of today overflows first.
    CHECK(run_async_task(answer(), TestType::max() - TestType(1)) == 42);
    CHECK(sleeps_on(TestType::max() - TestType(1)));
}

TEST_CASE("a hundred years and more are waited for") {
    CHECK(run_async_task(answer(), days(36'500)) == 42);
    CHECK(sleeps_on(days(36'500)));
    CHECK(run_async_task(answer(), days(365 * 290)) == 42);
    CHECK(run_async_task(answer(), days(365 * 300)) == 42);
    CHECK(sleeps_on(days(365 * 300)));
    CHECK(run_async_task(answer(), billions_of_seconds(10)) == 42);
}

TEMPLATE_TEST_CASE("zero and less is over at once", "", std::chrono::nanoseconds, std::chrono::hours, days,
                   billions_of_seconds, duration<double>, float_seconds) {
    for (const auto time : {TestType(0), TestType(-1), TestType::min(), -TestType::max()}) {
        CHECK_THROWS_AS(run_async_task(answer(), time), timeout_error);
        run_async_task(sleeps(time), 60s);
    }
    if constexpr (std::is_floating_point_v<typename TestType::rep>) {
        CHECK_THROWS_AS(run_async_task(answer(), -infinite<TestType>), timeout_error);
        run_async_task(sleeps(-infinite<TestType>), 60s);
        run_async_task(sleeps(std::numeric_limits<typename TestType::rep>::denorm_min() * TestType(1)), 60s);
    }
}

TEST_CASE("a sleep is not shorter than its duration, in whatever unit that is") {
    CHECK(time_of_sleep(5ms) >= 5ms);
    CHECK(time_of_sleep(5'000'001ns) >= 5'000'001ns);
    CHECK(time_of_sleep(float_seconds(0.0055F)) >= 5'499us);
    CHECK(time_of_sleep(duration<double>(0.0055)) >= 5'500us);
    CHECK(time_of_sleep(duration<double, std::ratio<60>>(0.0001)) >= 6ms);
    CHECK(time_of_sleep(duration<long double, std::milli>(5.5L)) >= 5'500us);
    CHECK(time_of_sleep(picoseconds(5'000'000'001)) >= 5'000'001ns);
    CHECK(time_of_sleep(duration<int, std::ratio<1, 3>>(1) / 60) >= 0ns);
    CHECK(time_of_sleep(duration<double, std::ratio<1, 3>>(0.018)) >= 6ms);
}

TEST_CASE("a timeout is not shorter than its duration, in whatever unit that is") {
    const auto time_of = [](auto timeout) {
        const auto from = steady_clock::now();
        CHECK_THROWS_AS(run_async_task(sleeps(24h), timeout), timeout_error);
        return steady_clock::now() - from;
    };
    CHECK(time_of(5ms) >= 5ms);
    CHECK(time_of(float_seconds(0.0055F)) >= 5'499us);
    CHECK(time_of(duration<double, std::milli>(5.5)) >= 5'500us);
    CHECK(time_of(picoseconds(5'000'000'001)) >= 5'000'001ns);
}

TEST_CASE("a timeout is named in a unit that suits a person") {
    const auto starts = [](const std::string& with) {
        return Catch::Matchers::StartsWith("task took longer than " + with);
    };
    CHECK_THAT(timeout_text(1ns), starts("1 ns"));
    CHECK_THAT(timeout_text(1500ns), starts("1.5 us"));
    CHECK_THAT(timeout_text(2us), starts("2 us"));
    CHECK_THAT(timeout_text(5ms), starts("5 ms"));
    CHECK_THAT(timeout_text(float_seconds(0.0125F)), starts("12.5 ms"));
    CHECK_THAT(timeout_text(duration<double, std::ratio<60>>(0.001)), starts("60 ms"));
    CHECK_THAT(timeout_text(0.01s), starts("10 ms"));
    CHECK_THAT(timeout_text(1s), starts("1 s"));
    CHECK_THAT(timeout_text(0h), starts("0 s"));
}

TEST_CASE("minutes and hours are for round numbers and long times") {
    using sincpro::detail::to_text;
    CHECK(to_text(60s) == "60 s");
    CHECK(to_text(90s) == "90 s");
    CHECK(to_text(2min) == "2 min");
    CHECK(to_text(90min) == "90 min");
    CHECK(to_text(2h) == "2 h");
    CHECK(to_text(-90s) == "-90 s");
    CHECK(to_text(1s - 1ns) == "1 s");  // not "1000 ms"
    CHECK(to_text(999ms) == "999 ms");
}

TEST_CASE("a grace of any size is understood") {
    for (const auto grace : {std::chrono::milliseconds::min(), -1ms, 0ms, 1ms, std::chrono::milliseconds::max()}) {
        sincpro::worker w({.cancel_grace = grace, .shutdown_grace = grace});
        CHECK_THROWS_AS(w.run(sleeps(24h), 2ms), timeout_error);
        CHECK(w.run(answer(), 60s) == 42);
        w.shutdown();
        CHECK(w.run(answer()) == 42);
    }
}

TEST_CASE("the least duration of every unit is over at once, and does not overflow") {
    const auto over_at_once = [](auto least) {
        const auto begin = std::chrono::steady_clock::now();
        sincpro::run_async_task(sincpro::sleep_for(least));
        CHECK_THROWS_AS(sincpro::run_async_task(sincpro::sleep_for(1h), least), sincpro::timeout_error);
        CHECK(std::chrono::steady_clock::now() - begin < 10s);
    };
    over_at_once(std::chrono::duration<std::int64_t, std::atto>::min());
    over_at_once(std::chrono::duration<std::int64_t, std::pico>::min());
    over_at_once(std::chrono::nanoseconds::min());
    over_at_once(std::chrono::duration<std::int64_t, std::ratio<1, 3>>::min());
    over_at_once(std::chrono::hours::min());
    over_at_once(std::chrono::duration<double>::min());
    CHECK(sincpro::detail::saturate(std::chrono::duration<std::int64_t, std::pico>(-1'500)) == -1ns);
    CHECK(sincpro::detail::saturate(std::chrono::duration<std::int64_t, std::pico>(1'500)) == 2ns);
}

TEST_CASE("ticks that are no power of ten do not overflow") {
    using samples = duration<std::int64_t, std::ratio<1, 44'100>>;
    using thirds = duration<std::int64_t, std::ratio<1, 3>>;
    const auto nanoseconds = [](auto d) { return sincpro::detail::saturate(d).count(); };
    constexpr std::int64_t ten_years = 3'650LL * 86'400;
    CHECK(nanoseconds(samples(ten_years * 44'100)) == ten_years * 1'000'000'000);
    CHECK(nanoseconds(samples(-ten_years * 44'100)) == -ten_years * 1'000'000'000);
    CHECK(nanoseconds(thirds(ten_years * 3 + 1)) == ten_years * 1'000'000'000 + 333'333'334);
    CHECK(nanoseconds(thirds(-1)) == -333'333'333);
    CHECK(sincpro::detail::saturate(samples::max()) == steady_clock::duration::max());
}
