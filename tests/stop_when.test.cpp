#include <sincpro/async_worker/stop_when.hpp>

#include <sincpro/async_worker.hpp>

#include <version>

#include "support/catch.hpp"

#if defined(__cpp_lib_jthread)

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"

// GCC 12 with a sanitizer takes the constructor of every std::stop_source for a use of one that is not initialized.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::stop_when;
using sincpro::submit_async_task;
using sincpro::task;
using support::counted;
using support::gate;
using support::lifetimes;

task<int> number(int n) {
    co_await sincpro::yield();
    co_return n;
}

task<int&> reference(int& to) { co_return to; }

task<std::unique_ptr<int>> move_only(int n) { co_return std::make_unique<int>(n); }

task<> begin_and_sleep(counted, gate begun) {
    begun.open();
    co_await sleep_for(1h);
}

}  // namespace

TEST_CASE("stop_when gives the result of its operand while nobody asks to stop") {
    const std::stop_source source;
    CHECK(run_async_task(stop_when(number(1), source.get_token())) == 1);
    int there = 2;
    CHECK(&run_async_task(stop_when(reference(there), source.get_token())) == &there);
    CHECK(*run_async_task(stop_when(move_only(3), source.get_token())) == 3);
    run_async_task(stop_when(sleep_for(1ms), source.get_token()));
    const auto fails = []() -> task<> {
        co_await sincpro::yield();
        throw std::runtime_error("mine");
    };
    CHECK_THROWS_WITH(run_async_task(stop_when(fails(), source.get_token())), "mine");
}

TEST_CASE("a token without a source never stops anything") {
    CHECK(run_async_task(stop_when(number(1), std::stop_token())) == 1);
    std::stop_token orphan;
    {
        const std::stop_source gone;
        orphan = gone.get_token();
    }
    CHECK(run_async_task(stop_when(number(2), orphan)) == 2);
}

TEST_CASE("stop_when takes callables, awaitables of other libraries and copies of lvalues") {
    const std::stop_source source;
    const int base = 40;
    const auto callable = [&] { return number(base + 2); };
    const support::member_co_await<int> lvalue(5);
    CHECK(run_async_task(stop_when(callable, source.get_token())) == 42);
    CHECK(run_async_task(stop_when(lvalue, source.get_token())) == 5);
    CHECK(run_async_task(stop_when(support::resumes_on_new_thread<int>(3), source.get_token())) == 3);
}

TEST_CASE("with a token that has been stopped already the operand ends with operation_cancelled") {
    std::stop_source source;
    source.request_stop();
    const lifetimes log;
    CHECK_THROWS_AS(run_async_task(stop_when(begin_and_sleep(counted(log), gate()), source.get_token())),
                    operation_cancelled);
    CHECK(log.alive() == 0);
}

TEST_CASE("a stop from another thread cancels the operand and waits until it has unwound") {
    std::stop_source source;
    const gate begun;
    const lifetimes log;
    std::thread stopper([&] {
        begun.wait();
        source.request_stop();
    });
    CHECK_THROWS_AS(run_async_task(stop_when(begin_and_sleep(counted(log), begun), source.get_token())),
                    operation_cancelled);
    CHECK(log.alive() == 0);
    stopper.join();
}

TEST_CASE("a stop from the worker thread itself, inside the operand or beside it, cancels the operand") {
    std::stop_source inside;
    const auto stops_itself = [&]() -> task<> {
        inside.request_stop();
        co_await sleep_for(1h);
    };
    CHECK_THROWS_AS(run_async_task(stop_when(stops_itself, inside.get_token())), operation_cancelled);

    std::stop_source beside;
    const auto stops = [&]() -> task<> {
        beside.request_stop();
        co_return;
    };
    const auto stopped = [&]() -> task<bool> {
        bool cancelled = false;
        try {
            co_await stop_when(sleep_for(1h), beside.get_token());
        } catch (const operation_cancelled&) {
            cancelled = true;
        }
        co_return cancelled;
    };
    CHECK(std::get<0>(run_async_task(sincpro::when_all(stopped, stops))));
}

TEST_CASE("a value that the operand ends with although it was stopped is returned") {
    std::stop_source source;
    const auto stubborn = [&]() -> task<int> {
        source.request_stop();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        co_return 5;
    };
    CHECK(run_async_task(stop_when(stubborn, source.get_token())) == 5);
}

TEST_CASE("only the operand is cancelled, its parent goes on") {
    std::stop_source source;
    source.request_stop();
    const auto parent = [&]() -> task<bool> {
        bool cancelled = false;
        try {
            co_await stop_when(sleep_for(1h), source.get_token());
        } catch (const operation_cancelled&) {
            cancelled = true;
        }
        co_await sleep_for(1ms);
        co_return cancelled && !sincpro::cancellation_requested();
    };
    CHECK(run_async_task(parent()));
}

TEST_CASE("a stop after the end has no effect, and the source may go first") {
    std::stop_source source;
    CHECK(run_async_task(stop_when(number(1), source.get_token())) == 1);
    source.request_stop();
    std::optional<std::stop_source> short_lived(std::in_place);
    const auto outlives_it = [&]() -> task<int> {
        short_lived.reset();
        co_await sleep_for(1ms);
        co_return 5;
    };
    CHECK(run_async_task(stop_when(outlives_it, short_lived->get_token())) == 5);
}

TEST_CASE("a task that is cancelled inside stop_when ends with operation_cancelled") {
    const std::stop_source source;
    const gate begun;
    const lifetimes log;
    auto future = submit_async_task(stop_when(begin_and_sleep(counted(log), begun), source.get_token()));
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log.alive() == 0);
}

TEST_CASE("one source stops 1,000 operands") {
    std::stop_source source;
    const support::arrivals begun;
    const auto child = [&]() -> task<bool> {
        const auto sleeps = [&]() -> task<> {
            begun.arrive();
            co_await sleep_for(1h);
        };
        bool cancelled = false;
        try {
            co_await stop_when(sleeps, source.get_token());
        } catch (const operation_cancelled&) {
            cancelled = true;
        }
        co_return cancelled;
    };
    std::vector<task<bool>> all;
    for (int i = 0; i < 1'000; ++i) {
        all.push_back(child());
    }
    auto future = submit_async_task(sincpro::when_all(std::move(all)));
    begun.wait(1'000);
    source.request_stop();
    CHECK(future.get() == std::vector<bool>(1'000, true));
}

TEST_CASE("stops that race with the end of the operand leave one of the two outcomes") {
    constexpr int rounds = 2'000;
    int ended = 0;
    int cancelled = 0;
    for (int i = 0; i < rounds; ++i) {
        std::stop_source source;
        const gate begun;
        const auto short_work = [&]() -> task<int> {
            begun.open();
            co_await sincpro::yield();
            co_await sincpro::yield();
            co_return 5;
        };
        auto future = submit_async_task(stop_when(short_work, source.get_token()));
        begun.wait();
        source.request_stop();
        try {
            ended += future.get() == 5 ? 1 : 0;
        } catch (const operation_cancelled&) {
            ++cancelled;
        }
    }
    CHECK(ended + cancelled == rounds);
}

TEST_CASE("a stop_when that is never awaited destroys its operand and starts nothing") {
    const std::stop_source source;
    const lifetimes log;
    const gate begun;
    {
        [[maybe_unused]] const auto unused = stop_when(begin_and_sleep(counted(log), begun), source.get_token());
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
    CHECK_FALSE(begun.is_open());
}

namespace {

task<> deep_sleep(int depth, const gate& begun, std::stop_token token) {
    if (depth == 0) {
        begun.open();
        co_await sleep_for(1h);
    } else {
        co_await stop_when(deep_sleep(depth - 1, begun, token), token);
    }
}

}  // namespace

TEST_CASE("stop_when may be nested 10,000 deep, all with one token") {
    std::stop_source source;
    const gate begun;
    auto future = submit_async_task(deep_sleep(10'000, begun, source.get_token()));
    begun.wait();
    source.request_stop();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
}

#else

TEST_CASE("stop_when is not there because the standard library has no stop_token") { CHECK(true); }

#endif
