#include <sincpro/async_worker/result.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"

namespace {

using sincpro::as_result;
using sincpro::result;
using sincpro::run_async_task;
using sincpro::task;
using support::counted;
using support::lifetimes;

struct without_default {
    explicit without_default(int v) : value(v) {}
    int value;
};

/// A result<T> as users get one.
template <class T>
result<T> result_of(task<T> t) {
    return run_async_task(as_result(std::move(t)));
}

task<std::string> text(std::string s) { co_return s; }

task<> nothing(bool fail) {
    if (fail) {
        throw std::runtime_error("failed");
    }
    co_return;
}

static_assert(!std::is_convertible_v<result<int>, bool>);
static_assert(std::is_constructible_v<bool, result<int>>);
static_assert(std::is_same_v<decltype(std::declval<result<int>>().error()), std::exception_ptr>);
static_assert(std::is_same_v<decltype(std::declval<result<int&>>().value()), int&>);
static_assert(std::is_same_v<decltype(std::declval<result<int>&>().value()), int&>);
static_assert(std::is_move_constructible_v<result<std::unique_ptr<int>>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);

}  // namespace

TEST_CASE("a result with a value is true, has no error and gives the value") {
    auto r = result_of(text("value"));
    REQUIRE(r);
    CHECK(r.error() == nullptr);
    CHECK(r.value() == "value");
    r.value() += " changed";
    CHECK(std::as_const(r).value() == "value changed");
}

TEST_CASE("a result with an exception is false and rethrows the same exception as often as it is asked") {
    const auto fail = []() -> task<std::string> {
        throw std::runtime_error("failed");
        co_return "";
    };
    auto failed = result_of(fail());
    REQUIRE_FALSE(failed);
    REQUIRE(failed.error() != nullptr);
    CHECK_THROWS_WITH(failed.value(), "failed");
    CHECK_THROWS_WITH(failed.value(), "failed");
    CHECK_THROWS_AS(std::move(failed).value(), std::runtime_error);
}

TEST_CASE("a result of void is true or rethrows") {
    const auto done = result_of(nothing(false));
    REQUIRE(done);
    done.value();
    CHECK(done.error() == nullptr);
    const auto failed = result_of(nothing(true));
    REQUIRE_FALSE(failed);
    CHECK_THROWS_WITH(failed.value(), "failed");
}

TEST_CASE("a result of a reference refers to the same object") {
    int there = 1;
    const auto refer = [](int& to) -> task<int&> { co_return to; };
    const auto r = result_of(refer(there));
    REQUIRE(r);
    CHECK(&r.value() == &there);
}

TEST_CASE("a result holds move-only and not default-constructible values") {
    const auto make = [](int n) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(n); };
    auto r = result_of(make(5));
    REQUIRE(r);
    auto moved_result = std::move(r);
    const std::unique_ptr<int> moved = std::move(moved_result).value();
    CHECK(*moved == 5);
    const auto make_odd = [](int n) -> task<without_default> { co_return without_default(n); };
    CHECK(result_of(make_odd(6)).value().value == 6);
}

TEST_CASE("results can be assigned and kept in a vector") {
    std::vector<result<std::string>> all;
    for (int i = 0; i < 20; ++i) {
        all.push_back(result_of(text(std::to_string(i))));
    }
    CHECK(all[19].value() == "19");
    all[3] = std::move(all[7]);
    CHECK(all[3].value() == "7");
    all[3] = run_async_task(as_result(sincpro::with_timeout(text("late"), std::chrono::seconds(0))));
    CHECK_THROWS_AS(all[3].value(), sincpro::timeout_error);
    all[3] = result_of(text("again"));
    CHECK(all[3].value() == "again");
}

TEST_CASE("assigning a result to itself changes nothing") {
    auto r = result_of(text("kept"));
    auto& same = r;
    r = std::move(same);
    CHECK(r.value() == "kept");
}

TEST_CASE("a result that is an exception_ptr is a value") {
    const auto error = std::make_exception_ptr(std::logic_error("data"));
    const auto make = [](std::exception_ptr e) -> task<std::exception_ptr> { co_return e; };
    const auto r = result_of(make(error));
    REQUIRE(r);
    CHECK(r.error() == nullptr);
    CHECK(r.value() == error);
}

TEST_CASE("a result destroys its value once") {
    const auto make = [](lifetimes log) -> task<counted> { co_return counted(log); };
    const lifetimes log;
    {
        auto r = result_of(make(log));
        CHECK(log.alive() == 1);
        const auto moved = std::move(r);
        CHECK(moved);
    }
    CHECK(log.alive() == 0);
    CHECK(log.copied() == 0);
}

TEST_CASE("an empty result says so when it is asked for its value") {
    sincpro::result<int> empty;
    CHECK_FALSE(empty);
    CHECK(empty.error() == nullptr);
    CHECK_THROWS_AS(empty.value(), std::logic_error);
    CHECK_THROWS_AS(std::move(empty).value(), std::logic_error);
    sincpro::detail::result_access::set_value(empty, 3);
    CHECK(empty.value() == 3);
    sincpro::detail::result_access::clear(empty);
    CHECK_THROWS_AS(empty.value(), std::logic_error);
}

TEST_CASE("a result that is filled a second time keeps the newer value") {
    const lifetimes log;
    {
        sincpro::result<counted> r;
        sincpro::detail::result_access::set_value(r, log);
        sincpro::detail::result_access::set_value(r, log);
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("a null exception is a logic_error") {
    sincpro::result<int> r;
    sincpro::detail::result_access::set_exception(r, nullptr);
    CHECK_FALSE(r);
    CHECK_THROWS_AS(r.value(), std::logic_error);
}
