#include <sincpro/async_worker/detail/coroutine/task_job.hpp>

#include <sincpro/async_worker/result.hpp>
#include <sincpro/async_worker/task.hpp>

#include <stdexcept>
#include <utility>

#include "support/catch.hpp"
#include "support/hand_loop.hpp"

namespace {

using sincpro::result;
using sincpro::task;
using sincpro::detail::task_access;
using sincpro::detail::task_job;
using support::hand_loop;

task<int> number(int n) { co_return n; }

/// Shows what the owner of a job does with it.
struct open_job final : task_job {
    open_job(hand_loop& on, task<int> t) : task_job(&on.runner, task_access::take_frame(t)) {}
    open_job(open_job&& other) noexcept : task_job(std::move(other)) {}
    void ended() noexcept override {}
    using task_job::take_outcome;
};

}  // namespace

TEST_CASE("a task that has no result, as one that forgets its co_return, ends with a logic_error") {
    hand_loop on;
    open_job not_begun(on, number(1));
    result<int> outcome;
    not_begun.take_outcome(outcome);
    CHECK_THROWS_WITH(std::move(outcome).value(), support::contains("must end in co_return"));
}

TEST_CASE("a job that was moved from is done when it begins, and ends with a logic_error") {
    hand_loop on;
    open_job first(on, number(2));
    open_job second(std::move(first));
    CHECK(first.begin() == nullptr);
    CHECK(first.done);
    result<int> outcome;
    first.take_outcome(outcome);
    CHECK_THROWS_AS(std::move(outcome).value(), std::logic_error);

    CHECK_FALSE(second.done);
    second.run(second.begin());
    CHECK(second.done);
    second.take_outcome(outcome);
    CHECK(std::move(outcome).value() == 2);
}

TEST_CASE("an empty task is refused") {
    task<int> t = number(4);
    const task<int> other = std::move(t);
    hand_loop on;
    CHECK_THROWS_AS(open_job(on, std::move(t)), std::logic_error);
}
