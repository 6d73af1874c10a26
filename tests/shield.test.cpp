#include <sincpro/async_worker/shield.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/scale.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::shield;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::yield;
using support::a_hundred_thousand;
using support::counted;
using support::gate;
using support::lifetimes;

task<int> number_after(int n, std::chrono::milliseconds time) {
    co_await sleep_for(time);
    co_return n;
}

task<int&> reference(int& to) {
    co_await yield();
    co_return to;
}

task<std::unique_ptr<int>> move_only(int n) { co_return std::make_unique<int>(n); }

static_assert(std::is_same_v<decltype(run_async_task(shield(std::declval<task<int&>>()))), int&>);
static_assert(std::is_void_v<decltype(run_async_task(shield(std::declval<task<>>())))>);

}  // namespace

TEST_CASE("shield gives what its operand gives") {
    CHECK(run_async_task(shield(number_after(1, 1ms))) == 1);
    int there = 2;
    CHECK(&run_async_task(shield(reference(there))) == &there);
    CHECK(*run_async_task(shield(move_only(3))) == 3);
    run_async_task(shield(sleep_for(1ms)));
    const auto fails = []() -> task<> {
        co_await yield();
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_WITH(run_async_task(shield(fails())), "mine");
}

TEST_CASE("shield takes callables, awaitables of other libraries and copies of lvalues") {
    const int base = 40;
    const auto callable = [&] { return number_after(base + 2, 0ms); };
    const support::member_co_await<int> lvalue(5);
    CHECK(run_async_task(shield(callable)) == 42);
    CHECK(run_async_task(shield(lvalue)) == 5);
    CHECK(run_async_task(shield(support::resumes_on_new_thread<int>(3))) == 3);
}

TEST_CASE("a cancelled task cleans up with shield, and its other operations stay cancelled") {
    std::string log;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
            log += "cancelled";
        }
        co_await shield(sleep_for(1ms));
        log += ", slept";
        const int five = co_await shield(number_after(5, 1ms));
        log += five == 5 ? ", got five" : ", got something else";
        const auto clean_up = []() -> task<int> {
            const auto pair = co_await sincpro::when_all(number_after(1, 1ms), number_after(2, 1ms));
            co_return co_await sincpro::with_timeout(number_after(std::get<0>(pair) + std::get<1>(pair), 1ms), 1h);
        };
        const int three = co_await shield(clean_up());
        log += three == 3 ? ", composed" : ", did not compose";
        co_await yield();
        log += ", was not cancelled any more";
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log == "cancelled, slept, got five, composed");
}

TEST_CASE("a cancellation that comes while the task waits in shield does not reach the operand") {
    const gate begun;
    support::foreign_event go_on;
    std::string log;
    auto future = submit_async_task([&]() -> task<> {
        const auto operand = [&]() -> task<int> {
            begun.open();
            co_await go_on;
            co_await sleep_for(1ms);
            log += "operand ended";
            co_return 5;
        };
        const int five = co_await shield(operand);
        log += five == 5 ? ", parent got it" : ", parent got something else";
        co_await sleep_for(1h);
    });
    begun.wait();
    future.cancel();
    run_async_task(yield());
    go_on.set();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log == "operand ended, parent got it");
}

TEST_CASE("a shielded operand can still be timed out and stopped from within") {
    const gate begun;
    auto future = submit_async_task([&]() -> task<bool> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        bool timed_out = false;
        try {
            co_await shield(sincpro::with_timeout(sleep_for(1h), 1ms));
        } catch (const sincpro::timeout_error&) {
            timed_out = true;
        }
        co_return timed_out;
    });
    begun.wait();
    future.cancel();
    CHECK(future.get());
}

TEST_CASE("when_all waits for a shielded child before it rethrows what another threw") {
    bool cleaned_up = false;
    const auto child = [&]() -> task<> {
        co_await shield(sleep_for(5ms));
        cleaned_up = true;
    };
    const auto fails = []() -> task<> {
        co_await yield();
        throw std::runtime_error("other");
    };
    CHECK_THROWS_WITH(run_async_task(sincpro::when_all(child, fails())), "other");
    CHECK(cleaned_up);
}

TEST_CASE("a shield that is never awaited destroys its operand and starts nothing") {
    const auto hold = [](counted) -> task<> { co_return; };
    const lifetimes log;
    {
        [[maybe_unused]] const auto unused = shield(hold(counted(log)));
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

namespace {

task<int> deep(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 0;
    }
    co_return 1 + co_await shield(deep(depth - 1));
}

}  // namespace

TEST_CASE("shield may be nested 100,000 deep") {
    CHECK(run_async_task(deep(a_hundred_thousand)) == a_hundred_thousand);
}
