#include <sincpro/async_worker/with_timeout.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::timeout_error;
using sincpro::with_timeout;
using sincpro::yield;
using support::a_hundred_thousand;
using support::counted;
using support::gate;
using support::lifetimes;
using support::this_thread_number;

using seconds_in_double = std::chrono::duration<double>;

task<int> number(int n) { co_return n; }

task<int> number_after(int n, std::chrono::milliseconds time) {
    co_await sleep_for(time);
    co_return n;
}

task<int&> reference(int& to) {
    co_await yield();
    co_return to;
}

task<std::unique_ptr<int>> move_only(int n) {
    co_await yield();
    co_return std::make_unique<int>(n);
}

task<int> fails(const char* text) {
    co_await yield();
    throw std::runtime_error(text);
}

task<int> note(bool& started) {
    started = true;
    co_return 1;
}

task<int> note_and_hold(counted, bool& started) {
    started = true;
    co_return 1;
}

task<int> value_when_cancelled(int n) {
    try {
        co_await sleep_for(1h);
    } catch (const operation_cancelled&) {
    }
    co_return n;
}

task<int> failure_when_cancelled(const char* text) {
    try {
        co_await sleep_for(1h);
    } catch (const operation_cancelled&) {
    }
    throw std::runtime_error(text);
}

template <class A, class Duration>
std::string message_of(A awaitable, Duration time) {
    try {
        run_async_task(with_timeout(std::move(awaitable), time));
    } catch (const timeout_error& e) {
        return e.what();
    }
    return "no timeout_error";
}

static_assert(std::is_same_v<decltype(run_async_task(with_timeout(std::declval<task<int>>(), 1s))), int>);
static_assert(std::is_same_v<decltype(run_async_task(with_timeout(std::declval<task<int&>>(), 1s))), int&>);
static_assert(std::is_void_v<decltype(run_async_task(with_timeout(std::declval<task<>>(), 1s)))>);

}  // namespace

TEST_CASE("with_timeout gives the result that comes in time") {
    CHECK(run_async_task(with_timeout(number(1), 1h)) == 1);
    CHECK(run_async_task(with_timeout(number_after(2, 1ms), 1h)) == 2);
    run_async_task(with_timeout(sleep_for(1ms), 1h));
    int there = 3;
    CHECK(&run_async_task(with_timeout(reference(there), 1h)) == &there);
    CHECK(*run_async_task(with_timeout(move_only(4), 1h)) == 4);
}

TEST_CASE("with_timeout passes an exception that comes in time") {
    CHECK_THROWS_WITH(run_async_task(with_timeout(fails("in time"), 1h)), "in time");
}

TEST_CASE("with_timeout takes callables, awaitables of other libraries and copies of lvalues") {
    const int base = 40;
    const auto callable = [&] { return number(base + 2); };
    const support::member_co_await<std::string> lvalue("copied");
    CHECK(run_async_task(with_timeout(callable, 1h)) == 42);
    CHECK(run_async_task(with_timeout(lvalue, 1h)) == "copied");
    CHECK(run_async_task(with_timeout(support::resumes_on_new_thread<int>(3), 1h)) == 3);
}

TEST_CASE("with_timeout cancels what takes longer and throws a timeout_error that names the time") {
    CHECK_THROWS_AS(run_async_task(with_timeout(sleep_for(1h), 1ms)), timeout_error);
    const auto message = message_of(sleep_for(1h), 15ms);
    CHECK(message.find("15 ms") != std::string::npos);
    try {
        run_async_task(with_timeout(sleep_for(1h), 1ms));
        FAIL("nothing was thrown");
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::timed_out);
    }
}

TEST_CASE("a timeout is never early") {
    for (int i = 0; i < 50; ++i) {
        const auto time = std::chrono::microseconds(i * 37);
        const auto from = std::chrono::steady_clock::now();
        CHECK_THROWS_AS(run_async_task(with_timeout(sleep_for(1h), time)), timeout_error);
        CHECK(std::chrono::steady_clock::now() - from >= time);
    }
}

TEST_CASE("with_timeout waits without bound until its operand has unwound, on the worker thread") {
    struct coroutines {
        static task<> slow_to_unwind(counted, bool& unwound) {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            co_await sincpro::shield(sleep_for(150ms));
            unwound = true;
            throw operation_cancelled();
        }
    };
    const lifetimes log;
    std::int64_t home = 0;
    const bool in_order = run_async_task([&]() -> task<bool> {
        home = this_thread_number();
        bool unwound = false;
        bool fine = false;
        try {
            co_await with_timeout(coroutines::slow_to_unwind(counted(log), unwound), 1ms);
        } catch (const timeout_error& e) {
            fine = unwound && log.alive() == 0 && e.task_stopped();
        }
        co_return fine;
    });
    CHECK(in_order);
    CHECK(log.destroyed_on() == home);
}

TEST_CASE("a value that the operand ends with after its cancellation is returned") {
    CHECK(run_async_task(with_timeout(value_when_cancelled(5), 1ms)) == 5);
}

TEST_CASE("an exception other than operation_cancelled after the cancellation is thrown") {
    CHECK_THROWS_WITH(run_async_task(with_timeout(failure_when_cancelled("after"), 1ms)), "after");
}

TEST_CASE("an operation_cancelled before the time is over stays what it is") {
    const auto gives_up = []() -> task<> {
        co_await yield();
        throw operation_cancelled();
    };
    CHECK_THROWS_AS(run_async_task(with_timeout(gives_up(), 1h)), operation_cancelled);
}

TEST_CASE("a timeout_error of the operand itself passes through untouched") {
    std::string message;
    try {
        run_async_task(with_timeout(with_timeout(sleep_for(1h), 7ms), 1h));
    } catch (const timeout_error& e) {
        message = e.what();
    }
    CHECK(message.find("7 ms") != std::string::npos);
}

TEST_CASE("an outer timeout cancels an inner one that has not come") {
    std::string message;
    try {
        run_async_task(with_timeout(with_timeout(sleep_for(1h), 2h), 7ms));
    } catch (const timeout_error& e) {
        message = e.what();
    }
    CHECK(message.find("7 ms") != std::string::npos);
}

TEST_CASE("with a timeout of nothing or less the operand is destroyed without being started") {
    const seconds_in_double minus_infinity(-std::numeric_limits<double>::infinity());
    bool started = false;
    CHECK_THROWS_AS(run_async_task(with_timeout(note(started), 0s)), timeout_error);
    CHECK_THROWS_AS(run_async_task(with_timeout(note(started), 0ns)), timeout_error);
    CHECK_THROWS_AS(run_async_task(with_timeout(note(started), -1s)), timeout_error);
    CHECK_THROWS_AS(run_async_task(with_timeout(note(started), std::chrono::hours::min())), timeout_error);
    CHECK_THROWS_AS(run_async_task(with_timeout(note(started), minus_infinity)), timeout_error);
    const lifetimes log;
    CHECK_THROWS_AS(run_async_task(with_timeout(note_and_hold(counted(log), started), 0s)), timeout_error);
    CHECK(log.alive() == 0);
    CHECK_FALSE(started);
}

TEST_CASE("a huge timeout is no deadline") {
    CHECK(run_async_task(with_timeout(number_after(1, 1ms), std::chrono::hours::max())) == 1);
    CHECK(run_async_task(with_timeout(number_after(1, 1ms), std::chrono::nanoseconds::max())) == 1);
    CHECK(run_async_task(with_timeout(number_after(1, 1ms), std::chrono::seconds::max())) == 1);
    CHECK(run_async_task(with_timeout(number_after(1, 1ms), seconds_in_double::max())) == 1);
    const seconds_in_double infinity(std::numeric_limits<double>::infinity());
    CHECK(run_async_task(with_timeout(number_after(1, 1ms), infinity)) == 1);
}

TEST_CASE("a timeout that is not a number is an invalid argument") {
    const seconds_in_double not_a_number(std::numeric_limits<double>::quiet_NaN());
    bool started = false;
    CHECK_THROWS_AS(run_async_task([&] { return with_timeout(note(started), not_a_number); }), std::invalid_argument);
    CHECK_FALSE(started);
}

TEST_CASE("a task that is cancelled inside with_timeout ends with operation_cancelled") {
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        co_await with_timeout(sleep_for(1h), 2h);
    });
    begun.wait();
    future.cancel();
    bool timed_out = false;
    bool cancelled = false;
    try {
        future.get();
    } catch (const timeout_error&) {
        timed_out = true;
    } catch (const operation_cancelled&) {
        cancelled = true;
    }
    CHECK(cancelled);
    CHECK_FALSE(timed_out);
}

TEST_CASE("a task goes on after a timeout that it caught") {
    const auto attempts = []() -> task<int> {
        int timeouts = 0;
        for (int i = 0; i < 20; ++i) {
            try {
                co_await with_timeout(sleep_for(1h), 100us);
            } catch (const timeout_error&) {
                ++timeouts;
            }
        }
        co_await sleep_for(1ms);
        co_return sincpro::cancellation_requested() ? 0 : timeouts;
    };
    CHECK(run_async_task(attempts()) == 20);
}

TEST_CASE("with_timeout protects locals that its operand refers to") {
    const auto parent = []() -> task<std::string> {
        std::string local = "alive";
        struct appends {
            ~appends() { to += ", then unwound"; }
            std::string& to;
        };
        const auto child = [](std::string& to) -> task<> {
            const appends at_end{to};
            co_await sleep_for(1h);
        };
        try {
            co_await with_timeout(child(local), 1ms);
        } catch (const timeout_error&) {
            local += ", then timed out";
        }
        co_return local;
    };
    CHECK(run_async_task(parent()) == "alive, then unwound, then timed out");
}

TEST_CASE("a with_timeout that is never awaited destroys its operand and starts nothing") {
    const lifetimes log;
    bool started = false;
    {
        [[maybe_unused]] const auto unused = with_timeout(note_and_hold(counted(log), started), 1h);
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
    CHECK_FALSE(started);
}

TEST_CASE("10,000 timeouts at once expire or do not, each as it should") {
    struct coroutines {
        static task<bool> expires() {
            bool expired = false;
            try {
                co_await with_timeout(sleep_for(1h), 1ms);
            } catch (const timeout_error&) {
                expired = true;
            }
            co_return expired;
        }
        static task<bool> does_not() { co_return co_await with_timeout(number_after(1, 1ms), 1h) == 1; }
    };
    std::vector<task<bool>> all;
    for (int i = 0; i < 5'000; ++i) {
        all.push_back(coroutines::expires());
        all.push_back(coroutines::does_not());
    }
    CHECK(run_async_task(sincpro::when_all(std::move(all))) == std::vector<bool>(10'000, true));
}

namespace {

task<int> deep(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 0;
    }
    co_return 1 + co_await with_timeout(deep(depth - 1), 1h);
}

task<> deep_sleep(int depth, const gate& begun) {
    if (depth == 0) {
        begun.open();
        co_await sleep_for(1h);
    } else {
        co_await with_timeout(deep_sleep(depth - 1, begun), 1h);
    }
}

}  // namespace

TEST_CASE("with_timeout may be nested 100,000 deep") {
    CHECK(run_async_task(deep(a_hundred_thousand)) == a_hundred_thousand);
}

TEST_CASE("cancellation reaches the innermost of 100,000 nested with_timeout") {
    const gate begun;
    auto future = submit_async_task(deep_sleep(a_hundred_thousand, begun));
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
}

TEST_CASE("a task that is cancelled is not timed out as well") {
    using std::chrono::steady_clock;
    struct coroutines {
        static task<> clean_up_until(steady_clock::time_point after_the_limit, gate begun,
                                     steady_clock::time_point& cancelled_at) {
            std::exception_ptr cancelled;
            begun.open();
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
                cancelled = std::current_exception();
                cancelled_at = steady_clock::now();
            }
            co_await sincpro::shield(sincpro::sleep_until(after_the_limit));
            std::rethrow_exception(cancelled);
        }
    };
    // The cancellation must come before the limit, which on a busy machine takes a longer one.
    for (auto limit = 20ms;; limit *= 2) {
        REQUIRE(limit < support::patience);
        const gate begun;
        const auto before = steady_clock::now();
        steady_clock::time_point cancelled_at;
        auto future = submit_async_task(
            with_timeout(coroutines::clean_up_until(before + 2 * limit + 20ms, begun, cancelled_at), limit));
        begun.wait();
        future.cancel();
        future.wait();
        if (cancelled_at < before + limit) {
            CHECK_THROWS_AS(future.get(), operation_cancelled);
            break;
        }
    }
}
