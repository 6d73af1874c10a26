#include <sincpro/async_worker/sleep_for.hpp>

#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <future>
#include <limits>
#include <ratio>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/scale.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::sleep_until;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::yield;
using std::chrono::steady_clock;
using support::a_hundred_thousand;
using support::a_million;
using support::gate;

using days = std::chrono::duration<int, std::ratio<86'400>>;
using seconds_in_double = std::chrono::duration<double>;

static_assert(sincpro::awaitable<decltype(sleep_for(1ms))>);
static_assert(sincpro::awaitable<decltype(sleep_until(steady_clock::now()))>);
static_assert(sincpro::awaitable<decltype(yield())>);

task<bool> early(std::chrono::nanoseconds time) {
    const auto from = steady_clock::now();
    co_await sleep_for(time);
    co_return steady_clock::now() - from < time;
}

task<bool> early(steady_clock::time_point time) {
    co_await sleep_until(time);
    co_return steady_clock::now() < time;
}

template <class Duration>
task<> sleep(Duration time) {
    co_await sleep_for(time);
}

/// Sleeps for `time` until it is cancelled; the test would not end if the cancellation were not noticed.
template <class Duration>
bool sleeps_until_cancelled(Duration time) {
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        co_await sleep_for(time);
    });
    begun.wait();
    if (future.wait_for(2ms) == std::future_status::ready) {
        return false;
    }
    future.cancel();
    try {
        future.get();
    } catch (const sincpro::operation_cancelled&) {
        return true;
    }
    return false;
}

}  // namespace

TEST_CASE("a sleep is never early") {
    std::vector<task<bool>> sleeps;
    for (int i = 0; i < 2'000; ++i) {
        sleeps.push_back(early(std::chrono::nanoseconds(i * 20'011)));
        sleeps.push_back(early(steady_clock::now() + std::chrono::nanoseconds(i * 20'011)));
    }
    for (const bool one : run_async_task(sincpro::when_all(std::move(sleeps)))) {
        REQUIRE_FALSE(one);
    }
    for (const auto time : {1ns, 999ns, 1'000ns, 65'537ns, 999'999ns, 1'000'001ns, 12'345'678ns}) {
        CHECK_FALSE(run_async_task(early(time)));
    }
}

TEST_CASE("sleeps may be given to the bridge as they are") {
    const auto from = steady_clock::now();
    run_async_task(sleep_for(2ms));
    CHECK(steady_clock::now() - from >= 2ms);
    const auto until = steady_clock::now() + 2ms;
    run_async_task(sleep_until(until));
    CHECK(steady_clock::now() >= until);
    run_async_task(yield());
}

TEST_CASE("sleepers wake in the order of their times") {
    struct coroutines {
        static task<> note(steady_clock::time_point time, std::size_t name, std::vector<std::size_t>& order) {
            co_await sleep_until(time);
            order.push_back(name);
        }
    };
    constexpr std::size_t sleepers = 1'000;
    std::vector<std::size_t> order;
    std::vector<task<>> all;
    const auto from = steady_clock::now() + 20ms;
    for (std::size_t i = 0; i < sleepers; ++i) {
        const std::size_t name = i * 377 % sleepers;
        all.push_back(coroutines::note(from + name * 17us, name, order));
    }
    run_async_task(sincpro::when_all(std::move(all)));
    CHECK(order.size() == sleepers);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("a time that is over is not waited for") {
    run_async_task(sleep_for(0s));
    run_async_task(sleep_for(-1s));
    run_async_task(sleep_for(-1.5h));
    run_async_task(sleep_for(std::chrono::hours::min()));
    run_async_task(sleep_for(std::chrono::nanoseconds::min()));
    run_async_task(sleep_for(seconds_in_double(-std::numeric_limits<double>::infinity())));
    run_async_task(sleep_until(steady_clock::now()));
    run_async_task(sleep_until(steady_clock::now() - 1h));
    run_async_task(sleep_until(steady_clock::time_point::min()));
    run_async_task(sleep_until(steady_clock::time_point()));
    SUCCEED();
}

TEST_CASE("durations of every unit are understood") {
    const auto lasts_at_least = [](auto time, std::chrono::nanoseconds least) {
        const auto from = steady_clock::now();
        run_async_task(sleep_for(time));
        return steady_clock::now() - from >= least;
    };
    CHECK(lasts_at_least(2ms, 2ms));
    CHECK(lasts_at_least(2'000us, 2ms));
    CHECK(lasts_at_least(0.002s, 2ms));
    CHECK(lasts_at_least(std::chrono::duration<float, std::milli>(2.0F), 2ms));
    CHECK(lasts_at_least(std::chrono::duration<long double, std::ratio<3'600>>(0.002L / 3'600), 1'999us));
    CHECK(lasts_at_least(std::chrono::duration<unsigned, std::milli>(2U), 2ms));
    CHECK(lasts_at_least(std::chrono::duration<int, std::ratio<1, 1'000>>(2), 2ms));
}

TEST_CASE("a huge time is waited for until the task is cancelled") {
    CHECK(sleeps_until_cancelled(1h));
    CHECK(sleeps_until_cancelled(days(365 * 300)));
    CHECK(sleeps_until_cancelled(days::max()));
    CHECK(sleeps_until_cancelled(std::chrono::hours::max()));
    CHECK(sleeps_until_cancelled(std::chrono::seconds::max()));
    CHECK(sleeps_until_cancelled(std::chrono::nanoseconds::max()));
    CHECK(sleeps_until_cancelled(std::chrono::duration<unsigned long long>::max()));
    CHECK(sleeps_until_cancelled(seconds_in_double::max()));
    CHECK(sleeps_until_cancelled(seconds_in_double(std::numeric_limits<double>::infinity())));
    CHECK(sleeps_until_cancelled(std::chrono::duration<float>(std::numeric_limits<float>::infinity())));
}

TEST_CASE("sleep_until the end of time waits until the task is cancelled") {
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        co_await sleep_until(steady_clock::time_point::max());
    });
    begun.wait();
    CHECK(future.wait_for(2ms) == std::future_status::timeout);
    future.cancel();
    CHECK_THROWS_AS(future.get(), sincpro::operation_cancelled);
}

TEST_CASE("a time that is not a number is an invalid argument") {
    const seconds_in_double not_a_number(std::numeric_limits<double>::quiet_NaN());
    CHECK_THROWS_AS(run_async_task(sleep(not_a_number)), std::invalid_argument);
    CHECK_THROWS_AS(run_async_task([&] { return sleep_for(not_a_number); }), std::invalid_argument);
}

TEST_CASE("cancelling one of many sleepers leaves the others asleep") {
    auto long_sleep = submit_async_task(sleep_for(1h));
    auto another = submit_async_task(sleep_for(1h));
    auto short_sleep = submit_async_task(sleep_for(20ms));
    another.cancel();
    CHECK_THROWS_AS(another.get(), sincpro::operation_cancelled);
    short_sleep.get();
    CHECK(long_sleep.wait_for(0s) == std::future_status::timeout);
    long_sleep.cancel();
    CHECK_THROWS_AS(long_sleep.get(), sincpro::operation_cancelled);
}

TEST_CASE("a sleep begins when it is awaited, wherever and whenever it was built, and not at all if it never is") {
    const auto unused = sleep_for(1h);
    const auto unused_too = sleep_until(steady_clock::time_point::max());
    sincpro::worker never_started;
    const auto built_before = sleep_for(20ms);
    std::this_thread::sleep_for(25ms);
    const auto from = steady_clock::now();
    sincpro::run_async_task(built_before);
    CHECK(steady_clock::now() - from >= 20ms);
    CHECK_FALSE(never_started.is_running());
    static_cast<void>(unused);
    static_cast<void>(unused_too);
}

TEST_CASE("a new earlier sleep is not held up by a later one that the worker is waiting for") {
    auto later = submit_async_task(sleep_for(1h));
    run_async_task(yield());
    run_async_task(sleep_for(2ms));
    later.cancel();
    CHECK_THROWS_AS(later.get(), sincpro::operation_cancelled);
}

TEST_CASE("yield lets every other task that is ready run first") {
    struct coroutines {
        static task<> take_turns(int name, int turns, std::vector<int>& order) {
            for (int i = 0; i < turns; ++i) {
                order.push_back(name);
                co_await yield();
            }
        }
    };
    std::vector<int> order;
    run_async_task(sincpro::when_all(coroutines::take_turns(0, 100, order), coroutines::take_turns(1, 100, order),
                                     coroutines::take_turns(2, 100, order)));
    REQUIRE(order.size() == 300);
    for (std::size_t i = 0; i < order.size(); ++i) {
        REQUIRE(order[i] == static_cast<int>(i % 3));
    }
}

TEST_CASE("a task that only yields holds up neither timers nor new tasks") {
    bool stop = false;
    auto yielding = submit_async_task([&]() -> task<> {
        while (!stop) {
            co_await yield();
        }
    });
    run_async_task(sleep_for(2ms));
    run_async_task([&]() -> task<> {
        stop = true;
        co_return;
    });
    yielding.get();
    CHECK(stop);
}

TEST_CASE("1,000,000 yields need no stack") {
    run_async_task([]() -> task<> {
        for (int i = 0; i < a_million; ++i) {
            co_await yield();
        }
    });
    SUCCEED();
}

TEST_CASE("100,000 sleeps at once all end") {
    std::vector<task<bool>> sleeps;
    for (int i = 0; i < a_hundred_thousand; ++i) {
        sleeps.push_back(early(std::chrono::microseconds(i % 50'000)));
    }
    const auto results = run_async_task(sincpro::when_all(std::move(sleeps)));
    CHECK(std::count(results.begin(), results.end(), false) == a_hundred_thousand);
}
