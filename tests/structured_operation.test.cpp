#include <sincpro/async_worker/detail/coroutine/structured_operation.hpp>

#include <coroutine>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/hand_loop.hpp"

namespace {

using sincpro::operation_cancelled;
using sincpro::task;
using sincpro::detail::cancel_list;
using sincpro::detail::child_job;
using sincpro::detail::child_tuple;
using sincpro::detail::element_t;
using sincpro::detail::operation;
using sincpro::detail::result_access;
using sincpro::detail::structured_operation;
using sincpro::detail::take_element;
using support::counted;
using support::hand_job;
using support::hand_loop;
using support::lifetimes;

static_assert(std::is_same_v<element_t<int>, int>);
static_assert(std::is_same_v<element_t<void>, std::monostate>);
static_assert(std::is_same_v<element_t<int&>, std::reference_wrapper<int>>);
static_assert(std::is_same_v<element_t<const int&>, std::reference_wrapper<const int>>);
static_assert(std::is_same_v<element_t<std::unique_ptr<int>>, std::unique_ptr<int>>);

/// An operation that a test ends when it likes.
class hand_signal {
public:
    class wait_operation : public operation {
    public:
        explicit wait_operation(hand_signal& s) : of_(&s) {}
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> h) {
            if (begin(h)) {
                of_->waiter_ = this;
            }
        }
        void await_resume() const { throw_if_cancelled(); }
        void cancel(cancel_list&) noexcept override {
            of_->waiter_ = nullptr;
            complete_cancelled();
        }

    private:
        friend hand_signal;
        hand_signal* of_;
    };

    wait_operation wait() { return wait_operation(*this); }
    bool waited_for() const { return waiter_ != nullptr; }
    void send() { std::exchange(waiter_, nullptr)->complete(); }

private:
    wait_operation* waiter_ = nullptr;
};

/// Waits for all of its children, and writes down in which order they ended.
class group final : public structured_operation {
public:
    explicit group(std::vector<task<int>> tasks) {
        children_.reserve(tasks.size());
        for (task<int>& t : tasks) {
            children_.emplace_back(std::move(t));
        }
    }
    /// Numbers of the children in the order of their end, "!" after those that failed; then those that never began.
    std::string await_resume() {
        throw_if_cancelled();
        for (std::size_t i = 0; i < children_.size(); ++i) {
            if (!children_[i].done) {
                return "not all are done";
            }
            if (log_.find(std::to_string(i)) == std::string::npos) {
                log_ += children_[i].error() != nullptr ? " skipped" : " lost";
            }
        }
        return log_;
    }
    /// Stops the others as soon as the child of this number has ended.
    group stops_after(std::size_t number) && {
        stops_after_ = number;
        return std::move(*this);
    }
    group(group&& other) noexcept : children_(std::move(other.children_)), stops_after_(other.stops_after_) {}

private:
    child_job* child(std::size_t i) noexcept override { return i < children_.size() ? &children_[i] : nullptr; }
    void child_ended(child_job& c) noexcept override {
        const auto number = static_cast<std::size_t>(&static_cast<sincpro::detail::child<int>&>(c) - children_.data());
        log_ += std::to_string(number);
        if (c.error() != nullptr) {
            log_ += '!';
        }
        if (number == stops_after_) {
            stop_children();
        }
    }

    std::vector<sincpro::detail::child<int>> children_;
    std::size_t stops_after_ = static_cast<std::size_t>(-1);
    std::string log_;
};

task<int> give(int n, std::string& begun) {
    begun += static_cast<char>('a' + n);
    co_return n;
}
task<int> give_after(int n, std::string& begun, hand_signal& s) {
    begun += static_cast<char>('a' + n);
    co_await s.wait();
    co_return n;
}
task<int> fail(int n, std::string& begun) {
    begun += static_cast<char>('a' + n);
    throw std::runtime_error("failed");
    co_return n;
}

template <class... T>
std::vector<task<int>> list(T... t) {
    std::vector<task<int>> made;
    (made.push_back(std::move(t)), ...);
    return made;
}

/// A job that awaits the group.
task<std::string> await_group(group g) { co_return co_await std::move(g); }

}  // namespace

TEST_CASE("children begin in order inside the await, and if all end there their parent is not suspended") {
    hand_loop on;
    std::string begun;
    hand_job job(on, await_group(group(list(give(0, begun), fail(1, begun), give(2, begun)))));
    job.start();
    CHECK(begun == "abc");
    CHECK(on.posted() == 0);
    REQUIRE(job.has_ended());
    CHECK(job.value() == "01!2");
}

TEST_CASE("a group without children is ready") {
    hand_loop on;
    hand_job job(on, await_group(group({})));
    job.start();
    REQUIRE(job.has_ended());
    CHECK(job.value().empty());
}

TEST_CASE("the parent goes on when the last child has ended, through the loop") {
    hand_loop on;
    std::string begun;
    hand_signal first, second;
    hand_job job(on,
                 await_group(group(list(give_after(0, begun, first), give(1, begun), give_after(2, begun, second)))));
    job.start();
    CHECK(begun == "abc");
    REQUIRE(!job.waiting.empty());
    second.send();
    on.run();
    CHECK_FALSE(job.has_ended());
    first.send();
    on.run_once();  // the child ends
    CHECK_FALSE(job.has_ended());
    CHECK(on.posted() == 1);
    on.run_once();  // the parent goes on
    REQUIRE(job.has_ended());
    CHECK(job.value() == "120");
}

TEST_CASE("the children of an operation are found by number, and say when they are done") {
    hand_loop on;
    std::string begun;
    hand_signal s;
    hand_job job(on, await_group(group(list(give(0, begun), give_after(1, begun, s)))));
    job.start();
    REQUIRE(!job.waiting.empty());
    sincpro::detail::job* const first = job.waiting.front().child(0);
    sincpro::detail::job* const second = job.waiting.front().child(1);
    REQUIRE(first != nullptr);
    REQUIRE(second != nullptr);
    CHECK(job.waiting.front().child(2) == nullptr);
    CHECK(first->done);
    CHECK_FALSE(second->done);
    CHECK(second->root == &job);
    CHECK(second->runner == &on.runner);
    CHECK(!second->waiting.empty());
    s.send();
    on.run();
    CHECK(job.has_ended());
}

TEST_CASE("stopping cancels the children that wait, and does not start those that have not begun") {
    hand_loop on;
    std::string begun;
    hand_signal s;
    SECTION("while they are started") {
        const lifetimes log;
        const auto never_begun = [](lifetimes l) -> task<int> {
            const counted c(l);
            co_return 3;
        };
        hand_job job(
            on,
            await_group(
                group(list(give_after(0, begun, s), give(1, begun), give(2, begun), never_begun(log))).stops_after(1)));
        job.start();
        CHECK(begun == "ab");
        CHECK_FALSE(s.waited_for());
        CHECK(log.constructed() == 0);
        on.run();
        REQUIRE(job.has_ended());
        CHECK(job.value() == "10! skipped skipped");
    }
    SECTION("later") {
        hand_signal other;
        hand_job job(on, await_group(group(list(give_after(0, begun, s), give_after(1, begun, other))).stops_after(0)));
        job.start();
        s.send();
        on.run();
        CHECK_FALSE(other.waited_for());
        REQUIRE(job.has_ended());
        CHECK(job.value() == "01!");
    }
    CHECK(on.posted() == 0);
}

TEST_CASE("stopping its children does not cancel the parent, cancelling the parent cancels all its children") {
    hand_loop on;
    std::string begun;
    hand_signal s, other;
    SECTION("stopped") {
        hand_job job(on, await_group(group(list(give_after(0, begun, s), give(1, begun))).stops_after(1)));
        job.start();
        on.run();
        CHECK_FALSE(job.cancelled);
        CHECK(job.value() == "10!");
    }
    SECTION("cancelled, also those of its children's children") {
        const auto inner = [](group g) -> task<int> {
            co_await std::move(g);
            co_return 0;
        };
        hand_job job(
            on, await_group(group(list(give_after(0, begun, s), inner(group(list(give_after(1, begun, other))))))));
        job.start();
        CHECK(s.waited_for());
        CHECK(other.waited_for());
        job.cancel();
        CHECK_FALSE(s.waited_for());
        CHECK_FALSE(other.waited_for());
        CHECK_FALSE(job.has_ended());
        on.run();
        REQUIRE(job.has_ended());
        // The groups have waited for their children; what came of those is for the groups to judge.
        CHECK(job.cancelled);
        CHECK(job.value() == "0!1");
    }
    SECTION("cancelled before it awaits them: none is started") {
        hand_job job(on, await_group(group(list(give(0, begun)))));
        job.cancelled = true;
        job.start();
        on.run();
        REQUIRE(job.has_ended());
        CHECK_THROWS_AS(job.value(), operation_cancelled);
        CHECK(begun.empty());
    }
}

TEST_CASE("children that are destroyed with their parent leave nothing behind") {
    const lifetimes log;
    hand_signal s;
    hand_loop on;
    {
        const auto wait = [](lifetimes l, hand_signal& until) -> task<int> {
            const counted c(l);
            co_await until.wait();
            co_return 0;
        };
        hand_job job(on, await_group(group(list(wait(log, s), wait(log, s)))));
        job.start();
        CHECK(log.alive() == 2);
    }
    CHECK(log.alive() == 0);
}

namespace {

/// Operations in operations, as deep as `depth`. Counts on the way in.
task<int> nested(int depth, int& begun) {
    ++begun;
    if (depth == 0) {
        co_return 0;
    }
    co_await group(list(nested(depth - 1, begun)));
    co_return 0;
}

}  // namespace

TEST_CASE("operations nested to any depth do not nest on the stack") {
    hand_loop on;
    int begun = 0;
    hand_job job(on, nested(100'000, begun));
    job.start();
    CHECK(begun < 100);
    on.run();
    CHECK(job.has_ended());
    CHECK(begun == 100'001);
}

TEST_CASE("a child that is cancelled while its beginning is queued is not begun, and its parent still ends") {
    hand_loop on;
    int begun = 0;
    hand_job job(on, nested(1'000, begun));
    job.start();
    const int so_far = begun;
    REQUIRE(so_far < 100);
    job.cancel();
    on.run();
    CHECK(job.has_ended());
    CHECK(begun == so_far);
}

TEST_CASE("a child that is cancelled while its beginning is queued has ended with operation_cancelled") {
    struct coroutines {
        static task<std::string> at_depth(int more, group g) {
            if (more == 0) {
                co_return co_await std::move(g);
            }
            co_return co_await at_depth(more - 1, std::move(g));
        }
    };
    hand_loop on;
    std::string begun;
    hand_job job(on, coroutines::at_depth(31, group(list(give(0, begun)))));
    job.start();
    REQUIRE(on.posted() == 1);
    job.cancel();
    on.run();
    CHECK(begun == "");
    REQUIRE(job.has_ended());
    CHECK(job.value() == "0!");
}

TEST_CASE("a child_tuple finds its children by number") {
    std::string begun;
    const auto text = []() -> task<std::string> { co_return "text"; };
    const auto nothing = []() -> task<> { co_return; };
    child_tuple<int, std::string, void> children(give(0, begun), text(), nothing());
    CHECK(children[0] == &std::get<0>(children.all()));
    CHECK(children[1] == &std::get<1>(children.all()));
    CHECK(children[2] == &std::get<2>(children.all()));
    CHECK(children[3] == nullptr);
    CHECK(children[100] == nullptr);
    child_tuple<> none;
    CHECK(none[0] == nullptr);
}

TEST_CASE("take_element gives a value, a reference, a monostate for nothing, or throws") {
    sincpro::result<std::unique_ptr<int>> value;
    result_access::set_value(value, std::make_unique<int>(1));
    CHECK(*take_element(value) == 1);

    int number = 0;
    sincpro::result<int&> reference;
    result_access::set_value(reference, &number);
    CHECK(&static_cast<int&>(take_element(reference)) == &number);

    sincpro::result<void> nothing;
    result_access::set_value(nothing);
    CHECK(take_element(nothing) == std::monostate());

    sincpro::result<void> error;
    result_access::set_exception(error, std::make_exception_ptr(std::runtime_error("failed")));
    CHECK_THROWS_AS(take_element(error), std::runtime_error);
}
