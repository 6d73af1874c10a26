#include <sincpro/async_worker/when_any.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
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
using sincpro::when_any;
using sincpro::yield;
using support::a_hundred_thousand;
using support::counted;
using support::gate;
using support::lifetimes;
using support::this_thread_number;

struct without_default {
    explicit without_default(int v) : value(v) {}
    int value;
};

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

task<without_default> odd(int n) { co_return without_default(n); }

task<int> fails_after(const char* text, std::chrono::milliseconds time) {
    co_await sleep_for(time);
    throw std::runtime_error(text);
}

/// Sleeps for ever; when it is cancelled it needs some passes of the loop to unwind.
task<int> slow_to_unwind(bool& unwound) {
    try {
        co_await sleep_for(1h);
    } catch (const operation_cancelled&) {
    }
    for (int i = 0; i < 100; ++i) {
        co_await sincpro::shield(yield());
    }
    unwound = true;
    co_return 0;
}

template <class T>
std::vector<task<T>> one(task<T> only) {
    std::vector<task<T>> children;
    children.push_back(std::move(only));
    return children;
}

using int_or_string = decltype(run_async_task(when_any(std::declval<task<int>>(), std::declval<task<std::string>>())));
static_assert(std::is_same_v<int_or_string, std::variant<int, std::string>>);
using void_or_reference = decltype(run_async_task(when_any(std::declval<task<>>(), std::declval<task<int&>>())));
static_assert(std::is_same_v<void_or_reference, std::variant<std::monostate, std::reference_wrapper<int>>>);
using index_and_int = decltype(run_async_task(when_any(std::declval<std::vector<task<int>>>())));
static_assert(std::is_same_v<index_and_int, std::pair<std::size_t, int>>);

template <class Operation>
task<> await_twice(Operation o) {
    static_cast<void>(co_await std::move(o));
    static_cast<void>(co_await std::move(o));
}

std::vector<task<int>> some_numbers() {
    std::vector<task<int>> tasks;
    tasks.push_back(number(1));
    return tasks;
}

}  // namespace

TEST_CASE("an operation that was moved from says so when it is awaited") {
    const auto says_so = [](auto make) {
        const auto text = support::contains("moved from before");
        CHECK_THROWS_WITH(run_async_task(await_twice(make())), text);
        auto operation = make();
        static_cast<void>(run_async_task(std::move(operation)));
        CHECK_THROWS_WITH(run_async_task(std::move(operation)), text);
    };
    says_so([] { return when_any(number(1), number(2)); });
    says_so([] { return when_any(some_numbers()); });
    says_so([] { return sincpro::when_all(number(1), number(2)); });
    says_so([] { return sincpro::with_timeout(number(1), 1h); });
    says_so([] { return sincpro::shield(number(1)); });
    says_so([] { return sincpro::as_result(number(1)); });
}

TEST_CASE("when_any gives the result that comes first, in the place of its argument") {
    const auto second = run_async_task(when_any(number_after(1, 1h), number_after(2, 1ms), number_after(3, 1h)));
    REQUIRE(second.index() == 1);
    CHECK(std::get<1>(second) == 2);
    const auto third = run_async_task(when_any(sleep_for(1h), number_after(2, 1h), sleep_for(1ms)));
    CHECK(third.index() == 2);
}

TEST_CASE("when_any of a vector gives the index and the value of the first") {
    std::vector<task<int>> children;
    for (int i = 0; i < 10; ++i) {
        children.push_back(number_after(i * 10, i == 7 ? std::chrono::milliseconds(1) : 1h));
    }
    const auto first = run_async_task(when_any(std::move(children)));
    CHECK(first.first == 7);
    CHECK(first.second == 70);
}

TEST_CASE("when_any of one child gives its result") {
    const auto only = run_async_task(when_any(number(1)));
    CHECK(std::get<0>(only) == 1);
    CHECK(run_async_task(when_any(one(number(1)))) == std::pair<std::size_t, int>(0, 1));
}

TEST_CASE("when_any of an empty vector is an invalid argument") {
    CHECK_THROWS_AS(run_async_task([] { return when_any(std::vector<task<int>>()); }), std::invalid_argument);
    CHECK_THROWS_AS(run_async_task([] { return when_any(std::vector<task<>>()); }), std::invalid_argument);
}

TEST_CASE("when_any gives void, references, move-only and not default-constructible results") {
    int there = 1;
    const auto nothing = run_async_task(when_any(number_after(1, 1h), sleep_for(1ms)));
    CHECK(nothing.index() == 1);
    const auto referred = run_async_task(when_any(sleep_for(1h), reference(there)));
    REQUIRE(referred.index() == 1);
    CHECK(&std::get<1>(referred).get() == &there);
    const auto moved = run_async_task(when_any(sleep_for(1h), move_only(2)));
    REQUIRE(moved.index() == 1);
    CHECK(*std::get<1>(moved) == 2);
    const auto odd_one = run_async_task(when_any(odd(3), sleep_for(1h)));
    REQUIRE(odd_one.index() == 0);
    CHECK(std::get<0>(odd_one).value == 3);
}

TEST_CASE("when_any of a vector gives void, references, move-only and not default-constructible results") {
    std::vector<task<>> nothings;
    for (int i = 0; i < 3; ++i) {
        nothings.push_back(
            [](bool ends) -> task<> { co_await sleep_for(ends ? std::chrono::milliseconds(1) : 1h); }(i == 2));
    }
    const auto nothing = run_async_task(when_any(std::move(nothings)));
    CHECK(nothing.first == 2);
    int there = 1;
    const auto referred = run_async_task(when_any(one(reference(there))));
    int& back = referred.second;
    CHECK(&back == &there);
    const auto moved = run_async_task(when_any(one(move_only(2))));
    CHECK(*moved.second == 2);
    const auto odd_one = run_async_task(when_any(one(odd(3))));
    CHECK(odd_one.second.value == 3);
}

TEST_CASE("when_any cancels the losers and waits until they have unwound") {
    bool first = false;
    bool last = false;
    const auto winner = run_async_task(when_any(slow_to_unwind(first), number_after(5, 1ms), slow_to_unwind(last)));
    REQUIRE(winner.index() == 1);
    CHECK(std::get<1>(winner) == 5);
    CHECK(first);
    CHECK(last);
}

TEST_CASE("when_any of a vector cancels the losers and waits until they have unwound") {
    bool first = false;
    bool last = false;
    std::vector<task<int>> children;
    children.push_back(slow_to_unwind(first));
    children.push_back(number_after(5, 1ms));
    children.push_back(slow_to_unwind(last));
    CHECK(run_async_task(when_any(std::move(children))) == std::pair<std::size_t, int>(1, 5));
    CHECK(first);
    CHECK(last);
}

TEST_CASE("an exception that comes first is rethrown after the others have unwound") {
    bool unwound = false;
    CHECK_THROWS_WITH(run_async_task(when_any(slow_to_unwind(unwound), fails_after("first", 1ms))), "first");
    CHECK(unwound);
    bool unwound_too = false;
    std::vector<task<int>> children;
    children.push_back(slow_to_unwind(unwound_too));
    children.push_back(fails_after("first", 1ms));
    CHECK_THROWS_WITH(run_async_task(when_any(std::move(children))), "first");
    CHECK(unwound_too);
}

TEST_CASE("what the losers return or throw is dropped") {
    struct children {
        static task<counted> returns_when_cancelled(lifetimes log) {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            co_return counted(log);
        }
        static task<int> fails_when_cancelled() {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            throw std::logic_error("loser");
        }
    };
    const lifetimes log;
    const auto winner = run_async_task(
        when_any(children::returns_when_cancelled(log), children::fails_when_cancelled(), number_after(5, 1ms)));
    REQUIRE(winner.index() == 2);
    CHECK(std::get<2>(winner) == 5);
    CHECK(log.constructed() > 0);
    CHECK(log.alive() == 0);
}

TEST_CASE("of several children that finish at once only one wins") {
    struct children {
        static task<int> count(int& begun) {
            ++begun;
            co_return begun;
        }
    };
    int begun = 0;
    const auto winner =
        run_async_task(when_any(children::count(begun), children::count(begun), children::count(begun)));
    CHECK(winner.index() == 0);
    CHECK(std::get<0>(winner) == 1);
}

TEST_CASE("a child that wins at once leaves nothing of the others behind") {
    struct children {
        static task<> hold(counted) { co_await sleep_for(1h); }
    };
    const lifetimes log;
    const auto winner = run_async_task(when_any(children::hold(counted(log)), number(5), children::hold(counted(log))));
    CHECK(winner.index() == 1);
    CHECK(log.alive() == 0);
}

TEST_CASE("the parent of when_any is not cancelled itself and its losers are gone before it goes on") {
    struct children {
        static task<> hold(counted) { co_await sleep_for(1h); }
    };
    const lifetimes log;
    std::int64_t home = 0;
    const bool fine = run_async_task([&]() -> task<bool> {
        home = this_thread_number();
        co_await when_any(children::hold(counted(log)), children::hold(counted(log)), sleep_for(1ms));
        const bool gone = log.alive() == 0;
        co_await sleep_for(1ms);
        co_return gone && !sincpro::cancellation_requested();
    });
    CHECK(fine);
    CHECK(log.destroyed_on() == home);
}

TEST_CASE("cancelling the parent of when_any cancels all children and waits for them") {
    bool first = false;
    bool second = false;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        const auto last = [&]() -> task<> {
            begun.open();
            co_await sleep_for(1h);
        };
        co_await when_any(slow_to_unwind(first), slow_to_unwind(second), last);
        co_await sleep_for(1h);
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(first);
    CHECK(second);
}

TEST_CASE("when_any takes callables, awaitables of other libraries and copies of lvalues") {
    const support::member_co_await<std::string> lvalue("copied");
    const auto copied = run_async_task(when_any(sleep_for(1h), lvalue));
    REQUIRE(copied.index() == 1);
    CHECK(std::get<1>(copied) == "copied");
    const int base = 40;
    const auto callable = [&] { return number(base + 2); };
    const auto called = run_async_task(when_any(callable, sleep_for(1h)));
    REQUIRE(called.index() == 0);
    CHECK(std::get<0>(called) == 42);
    CHECK(run_async_task(when_any(sleep_for(1h), support::resumes_on_new_thread<int>(3))).index() == 1);
}

TEST_CASE("when_any of 100,000 children finds the one that ends") {
    std::vector<task<int>> children;
    for (int i = 0; i < a_hundred_thousand; ++i) {
        children.push_back(number_after(i, i == 7'777 ? std::chrono::milliseconds(1) : 1h));
    }
    CHECK(run_async_task(when_any(std::move(children))) == std::pair<std::size_t, int>(7'777, 7'777));
}

namespace {

task<int> deep(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 0;
    }
    const auto below = co_await when_any(deep(depth - 1));
    co_return 1 + std::get<0>(below);
}

task<> deep_sleep(int depth, const gate& begun) {
    if (depth == 0) {
        begun.open();
        co_await sleep_for(1h);
    } else {
        co_await when_any(deep_sleep(depth - 1, begun));
    }
}

}  // namespace

TEST_CASE("when_any may be nested 100,000 deep") {
    CHECK(run_async_task(deep(a_hundred_thousand)) == a_hundred_thousand);
}

TEST_CASE("cancellation reaches the innermost of 100,000 nested when_any") {
    const gate begun;
    auto future = submit_async_task(deep_sleep(a_hundred_thousand, begun));
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
}
