#include <sincpro/async_worker/outermost.hpp>

#include <stdexcept>
#include <utility>

#include "support/catch.hpp"
#include "support/hand_executor.hpp"

namespace {

using sincpro::result;
using sincpro::task;
using sincpro::detail::outermost;

task<int> number(int n) { co_return n; }

}  // namespace

TEST_CASE("a task that has no result, as one that forgets its co_return, ends with a logic_error") {
    outermost<int> not_begun(number(1));
    result<int> outcome;
    not_begun.finish(outcome);
    CHECK_THROWS_WITH(std::move(outcome).value(), support::contains("must end in co_return"));
}

TEST_CASE("one that was moved from is done when it begins, and ends with a logic_error") {
    outermost<int> first(number(2));
    const outermost<int> second(std::move(first));
    support::hand_executor on;
    support::hand_job job(on, number(3));
    CHECK(first.begin(job) == nullptr);
    CHECK(job.done);
    result<int> outcome;
    first.finish(outcome);
    CHECK_THROWS_AS(std::move(outcome).value(), std::logic_error);
}

TEST_CASE("an empty task is refused") {
    task<int> t = number(4);
    const task<int> other = std::move(t);
    CHECK_THROWS_AS(outermost<int>(std::move(t)), std::logic_error);
}
