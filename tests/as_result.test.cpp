#include <sincpro/async_worker/as_result.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/scale.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::as_result;
using sincpro::operation_cancelled;
using sincpro::result;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::yield;
using support::a_hundred_thousand;
using support::a_million;
using support::counted;
using support::gate;
using support::lifetimes;

task<int> number(int n) {
    co_await yield();
    co_return n;
}

task<int> fails(const char* text) {
    co_await yield();
    throw std::runtime_error(text);
}

static_assert(std::is_same_v<decltype(run_async_task(as_result(std::declval<task<int>>()))), result<int>>);
static_assert(std::is_same_v<decltype(run_async_task(as_result(std::declval<task<>>()))), result<void>>);
static_assert(std::is_same_v<decltype(run_async_task(as_result(std::declval<task<int&>>()))), result<int&>>);

}  // namespace

TEST_CASE("as_result gives a value as data") {
    const auto five = run_async_task(as_result(number(5)));
    REQUIRE(five);
    CHECK(five.value() == 5);
    CHECK(five.error() == nullptr);
}

TEST_CASE("as_result gives an exception as data") {
    const auto failed = run_async_task(as_result(fails("as data")));
    REQUIRE_FALSE(failed);
    REQUIRE(failed.error() != nullptr);
    CHECK_THROWS_WITH(std::rethrow_exception(failed.error()), "as data");
    CHECK_THROWS_WITH(failed.value(), "as data");
}

TEST_CASE("as_result takes callables, awaitables of other libraries and copies of lvalues") {
    const int base = 40;
    const auto callable = [&] { return number(base + 2); };
    const auto throwing = []() -> task<int> { throw std::runtime_error("from the callable"); };
    const support::member_co_await<int> lvalue(5);
    CHECK(run_async_task(as_result(callable)).value() == 42);
    CHECK(run_async_task(as_result(lvalue)).value() == 5);
    CHECK(run_async_task(as_result(support::resumes_on_new_thread<int>(3))).value() == 3);
    CHECK_THROWS_WITH(run_async_task(as_result(throwing)).value(), "from the callable");
    CHECK_FALSE(run_async_task(as_result(support::throws_when_awaited<std::bad_alloc>())));
}

TEST_CASE("as_result in when_all lets the others go on when one fails") {
    const auto results =
        run_async_task(sincpro::when_all(as_result(fails("one")), as_result(number(2)), as_result(sleep_for(2ms))));
    CHECK_FALSE(std::get<0>(results));
    REQUIRE(std::get<1>(results));
    CHECK(std::get<1>(results).value() == 2);
    CHECK(std::get<2>(results));
}

TEST_CASE("the cancellation of the task that awaits as_result is no result and is thrown") {
    const gate begun;
    bool went_on = false;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        [[maybe_unused]] const auto slept = co_await as_result(sleep_for(1h));
        went_on = true;
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK_FALSE(went_on);
}

TEST_CASE("as_result gives a failure as data also in a task that was cancelled") {
    const gate begun;
    bool as_data = false;
    auto future = submit_async_task([&]() -> task<> {
        const auto fails_in_clean_up = [&]() -> task<> {
            try {
                begun.open();
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
                throw std::runtime_error("clean-up");
            }
        };
        const auto ended = co_await as_result(fails_in_clean_up());
        as_data = !ended;
    });
    begun.wait();
    future.cancel();
    future.get();
    CHECK(as_data);
}

TEST_CASE("as_result gives an operation_cancelled as data that its operand has thrown by itself") {
    const auto gives_up = []() -> task<int> {
        throw operation_cancelled();
        co_return 1;
    };
    const auto ended = run_async_task(as_result(gives_up()));
    REQUIRE_FALSE(ended);
    CHECK_THROWS_AS(ended.value(), operation_cancelled);
}

TEST_CASE("in a shield as_result is not concerned by the cancellation of the task") {
    const gate begun;
    bool as_data = false;
    auto future = submit_async_task([&]() -> task<> {
        const auto clean_up = [&]() -> task<> {
            const auto stopped = []() -> task<> {
                throw operation_cancelled();
                co_return;
            };
            as_data = !co_await as_result(stopped());
        };
        try {
            begun.open();
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        co_await sincpro::shield(clean_up());
    });
    begun.wait();
    future.cancel();
    CHECK_NOTHROW(future.get());
    CHECK(as_data);
}

TEST_CASE("as_result gives a timeout as data") {
    const auto timed_out = run_async_task(as_result(sincpro::with_timeout(sleep_for(1h), 1ms)));
    REQUIRE_FALSE(timed_out);
    CHECK_THROWS_AS(timed_out.value(), sincpro::timeout_error);
}

TEST_CASE("an as_result that is never awaited destroys its operand and starts nothing") {
    const auto hold = [](counted) -> task<> { co_return; };
    const lifetimes log;
    {
        [[maybe_unused]] const auto unused = as_result(hold(counted(log)));
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("1,000,000 awaits of as_result need no stack") {
    const auto sum = [](int rounds) -> task<long> {
        const auto one = []() -> task<int> { co_return 1; };
        long total = 0;
        for (int i = 0; i < rounds; ++i) {
            const auto got = co_await as_result(one());
            total += got.value();
        }
        co_return total;
    };
    CHECK(run_async_task(sum(a_million)) == a_million);
}

namespace {

task<int> deep(int depth) {
    if (depth == 0) {
        throw std::runtime_error("innermost");
    }
    auto below = co_await as_result(deep(depth - 1));
    co_return below ? below.value() + 1 : 1;
}

}  // namespace

TEST_CASE("as_result may be nested 100,000 deep") {
    CHECK(run_async_task(deep(a_hundred_thousand)) == a_hundred_thousand);
}
