#include <sincpro/async_worker/detail/coroutine/as_task.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/foreign.hpp"
#include "support/hand_loop.hpp"
#include "support/thrown.hpp"

namespace {

using sincpro::task;
using sincpro::detail::as_task;
using sincpro::detail::as_task_t;
using sincpro::detail::task_result_t;
using support::counted;
using support::foreign_lazy;
using support::free_co_await;
using support::hand_job;
using support::hand_loop;
using support::lifetimes;
using support::member_co_await;
using support::ready_awaiter;

task<int> one() { co_return 1; }

template <class A, class T>
constexpr bool becomes = std::is_same_v<as_task_t<A>, task<T>>&& std::is_same_v<task_result_t<A>, T>;

static_assert(becomes<task<int>, int>);
static_assert(becomes<task<>, void>);
static_assert(becomes<task<int&>, int&>);
static_assert(becomes<task<std::unique_ptr<int>>, std::unique_ptr<int>>);
static_assert(becomes<ready_awaiter<int>, int>);
static_assert(becomes<ready_awaiter<int>&, int>);
static_assert(becomes<const ready_awaiter<>&, void>);
static_assert(becomes<ready_awaiter<const int&>, const int&>);
static_assert(becomes<ready_awaiter<std::string&&>, std::string>, "a T&& would dangle");
static_assert(becomes<member_co_await<int>, int>);
static_assert(becomes<free_co_await<int>, int>);
static_assert(becomes<foreign_lazy<std::string>, std::string>);
static_assert(becomes<decltype(one)&, int>);
static_assert(becomes<decltype(&one), int>);
static_assert(becomes<std::function<task<int>()>, int>);
static_assert(becomes<std::function<task<int>()>&, int>);
static_assert(becomes<std::reference_wrapper<decltype(one)>, int>);

/// Runs it without a loop and gives what it ends with.
template <class A>
auto value_of(A&& a) {
    hand_loop on;
    hand_job job(on, as_task(std::forward<A>(a)));
    job.start();
    on.run();
    return job.value();
}

}  // namespace

TEST_CASE("a task becomes itself") {
    task<int> t = one();
    const task<int> same = as_task(std::move(t));
    // Awaiting what was moved from is an error: nothing was wrapped around it.
    hand_loop on;
    CHECK_THROWS_AS(hand_job<int>(on, std::move(t)), std::logic_error);
    CHECK(value_of(one()) == 1);
}

TEST_CASE("awaitables, and callables that return them, become tasks") {
    CHECK(value_of(ready_awaiter<int>(1)) == 1);
    CHECK(value_of(member_co_await<int>(2)) == 2);
    CHECK(value_of(free_co_await<int>{3}) == 3);
    CHECK(value_of([]() -> foreign_lazy<int> { co_return 4; }()) == 4);
    CHECK(value_of(one) == 1);
    CHECK(value_of(&one) == 1);
    CHECK(value_of(std::function<task<int>()>(one)) == 1);
    CHECK(value_of([] { return ready_awaiter<int>(5); }) == 5);
    CHECK(value_of([]() -> task<std::string> { co_return "text"; }) == "text");
    ready_awaiter<int> kept(6);
    CHECK(value_of([&]() -> ready_awaiter<int>& { return kept; }) == 6);
}

TEST_CASE("an rvalue is moved into the task, an lvalue is copied and stays as it is") {
    const lifetimes log;
    struct awaiter : ready_awaiter<int> {
        explicit awaiter(const lifetimes& l) : ready_awaiter<int>(1), c(l) {}
        counted c;
    };
    {
        awaiter kept(log);
        SECTION("rvalue") {
            CHECK(value_of(std::move(kept)) == 1);
            CHECK(log.copied() == 0);
        }
        SECTION("lvalue") {
            CHECK(value_of(kept) == 1);
            CHECK(log.copied() == 1);
        }
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("a callable is called when the task begins, once, and lives as long as the task") {
    const lifetimes log;
    int calls = 0;
    hand_loop on;
    {
        auto callable = [&calls, c = counted(log)]() -> task<int> {
            ++calls;
            co_await std::suspend_never();
            co_return 1;
        };
        hand_job job(on, as_task(std::move(callable)));
        CHECK(calls == 0);
        CHECK(log.copied() == 0);
        job.start();
        on.run();
        CHECK(job.value() == 1);
        CHECK(calls == 1);
        CHECK(log.alive() == 1);  // what it was moved from
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("a callable that is never begun is destroyed without a call") {
    const lifetimes log;
    int calls = 0;
    {
        const auto t = as_task([&calls, c = counted(log)]() -> task<int> {
            ++calls;
            co_return 1;
        });
        CHECK(log.alive() == 1);
    }
    CHECK(calls == 0);
    CHECK(log.alive() == 0);
}

TEST_CASE("what moving, copying or calling throws comes from there") {
    struct copy_fails : ready_awaiter<> {
        copy_fails() = default;
        copy_fails(copy_fails&&) = default;
        copy_fails(const copy_fails&) : ready_awaiter<>() { throw std::runtime_error("copied"); }
    };
    copy_fails kept;
    CHECK_THROWS_AS(as_task(kept), std::runtime_error);

    hand_loop on;
    hand_job job(on, as_task([]() -> task<> { throw std::runtime_error("called"); }));
    job.start();
    CHECK_THROWS_AS(job.value(), std::runtime_error);
}

TEST_CASE("what can be awaited or called as an lvalue only is awaited as one") {
    struct lvalue_only {
        ready_awaiter<int> operator co_await() & { return ready_awaiter<int>(3); }
    };
    struct called_as_lvalue {
        ready_awaiter<int> operator()() & { return ready_awaiter<int>(4); }
    };
    CHECK(value_of(lvalue_only()) == 3);
    CHECK(value_of(called_as_lvalue()) == 4);
}
