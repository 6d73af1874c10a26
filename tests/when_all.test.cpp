#include <sincpro/async_worker/when_all.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/owned_coroutine.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::when_all;
using sincpro::yield;
using support::a_hundred_thousand;
using support::a_million;
using support::counted;
using support::foreign_event;
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

task<> nothing() { co_return; }

task<int&> reference(int& to) {
    co_await yield();
    co_return to;
}

task<std::unique_ptr<int>> move_only(int n) {
    co_await yield();
    co_return std::make_unique<int>(n);
}

task<without_default> odd(int n) { co_return without_default(n); }

task<bool> truth(bool value) { co_return value; }

task<int> fails(const char* text) {
    throw std::runtime_error(text);
    co_return 0;
}

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

using int_and_string = decltype(run_async_task(when_all(std::declval<task<int>>(), std::declval<task<std::string>>())));
static_assert(std::is_same_v<int_and_string, std::tuple<int, std::string>>);
using void_and_reference = decltype(run_async_task(when_all(std::declval<task<>>(), std::declval<task<int&>>())));
static_assert(std::is_same_v<void_and_reference, std::tuple<std::monostate, int&>>);
using vector_of_void = decltype(run_async_task(when_all(std::declval<std::vector<task<>>>())));
static_assert(std::is_void_v<vector_of_void>);
using vector_of_int = decltype(run_async_task(when_all(std::declval<std::vector<task<int>>>())));
static_assert(std::is_same_v<vector_of_int, std::vector<int>>);
using vector_of_reference = decltype(run_async_task(when_all(std::declval<std::vector<task<int&>>>())));
static_assert(std::is_same_v<vector_of_reference, std::vector<std::reference_wrapper<int>>>);

}  // namespace

TEST_CASE("when_all gives the results in argument order, whatever the order of completion") {
    const auto results =
        run_async_task(when_all(number_after(1, 8ms), number_after(2, 4ms), number(3), number_after(4, 1ms)));
    CHECK(results == std::tuple(1, 2, 3, 4));
}

TEST_CASE("when_all of a vector gives the results in the order of the vector") {
    std::vector<task<int>> children;
    for (int i = 0; i < 20; ++i) {
        children.push_back(number_after(i, std::chrono::milliseconds(20 - i)));
    }
    const auto results = run_async_task(when_all(std::move(children)));
    REQUIRE(results.size() == 20);
    for (int i = 0; i < 20; ++i) {
        CHECK(results[static_cast<std::size_t>(i)] == i);
    }
}

TEST_CASE("when_all of one child is a tuple of one") { CHECK(run_async_task(when_all(number(1))) == std::tuple(1)); }

TEST_CASE("when_all of an empty vector is ready") {
    CHECK(run_async_task(when_all(std::vector<task<int>>())).empty());
    run_async_task(when_all(std::vector<task<>>()));
}

TEST_CASE("when_all gives void as monostate, references, move-only and not default-constructible results") {
    int there = 1;
    const auto results = run_async_task(when_all(nothing(), reference(there), move_only(2), odd(3)));
    int& back = std::get<1>(results);
    CHECK(&back == &there);
    CHECK(*std::get<2>(results) == 2);
    CHECK(std::get<3>(results).value == 3);
}

TEST_CASE("when_all of a vector gives void, references, move-only, not default-constructible and bool results") {
    int first = 1;
    int second = 2;
    std::vector<task<int&>> references;
    references.push_back(reference(first));
    references.push_back(reference(second));
    const auto there = run_async_task(when_all(std::move(references)));
    REQUIRE(there.size() == 2);
    CHECK(&there[0].get() == &first);
    CHECK(&there[1].get() == &second);

    std::vector<task<std::unique_ptr<int>>> pointers;
    pointers.push_back(move_only(3));
    pointers.push_back(move_only(4));
    const auto moved = run_async_task(when_all(std::move(pointers)));
    REQUIRE(moved.size() == 2);
    CHECK(*moved[0] == 3);
    CHECK(*moved[1] == 4);

    std::vector<task<without_default>> odds;
    odds.push_back(odd(5));
    odds.push_back(odd(6));
    const auto odd_ones = run_async_task(when_all(std::move(odds)));
    REQUIRE(odd_ones.size() == 2);
    CHECK(odd_ones[1].value == 6);

    std::vector<task<bool>> truths;
    truths.push_back(truth(true));
    truths.push_back(truth(false));
    CHECK(run_async_task(when_all(std::move(truths))) == std::vector<bool>{true, false});

    std::vector<task<>> nothings;
    nothings.push_back(nothing());
    nothings.push_back(nothing());
    run_async_task(when_all(std::move(nothings)));
}

TEST_CASE("results are moved into the tuple or vector and destroyed once") {
    struct children {
        static task<counted> make(lifetimes log) {
            co_await yield();
            co_return counted(log);
        }
    };
    const lifetimes log;
    {
        const auto pair = run_async_task(when_all(children::make(log), children::make(log)));
        CHECK(log.alive() == 2);
        std::vector<task<counted>> many;
        for (int i = 0; i < 10; ++i) {
            many.push_back(children::make(log));
        }
        const auto results = run_async_task(when_all(std::move(many)));
        CHECK(log.alive() == 12);
    }
    CHECK(log.alive() == 0);
    CHECK(log.copied() == 0);
}

TEST_CASE("the children of when_all run at the same time") {
    struct children {
        static task<int> wait(foreign_event& event) {
            co_await event;
            co_return 1;
        }
        static task<int> set(foreign_event& event) {
            event.set();
            co_return 2;
        }
    };
    foreign_event event;
    CHECK(run_async_task(when_all(children::wait(event), children::set(event))) == std::tuple(1, 2));
}

TEST_CASE("when_all takes callables, awaitables of other libraries and copies of lvalues") {
    const int base = 40;
    const auto callable = [&] { return number(base + 2); };
    const support::member_co_await<std::string> lvalue("copied");
    const auto results = run_async_task(
        when_all(callable, lvalue, support::resumes_on_new_thread<int>(3), [] { return sleep_for(1ms); }));
    CHECK(std::get<0>(results) == 42);
    CHECK(std::get<1>(results) == "copied");
    CHECK(std::get<2>(results) == 3);
    CHECK(run_async_task(when_all(lvalue)) == std::tuple(std::string("copied")));
}

TEST_CASE("what a callable or a copy throws is an exception of its child") {
    bool unwound = false;
    const auto throwing = []() -> task<int> { throw std::runtime_error("from the callable"); };
    CHECK_THROWS_WITH(run_async_task(when_all(slow_to_unwind(unwound), throwing)), "from the callable");
    CHECK(unwound);
}

TEST_CASE("the first exception in time cancels the other children, waits for them and is rethrown") {
    bool unwound = false;
    CHECK_THROWS_WITH(
        run_async_task(when_all(slow_to_unwind(unwound), fails_after("second", 1h), fails_after("first", 1ms))),
        "first");
    CHECK(unwound);
}

TEST_CASE("the first exception of a vector's children cancels the others, waits for them and is rethrown") {
    bool unwound = false;
    std::vector<task<int>> children;
    children.push_back(slow_to_unwind(unwound));
    children.push_back(fails_after("second", 1h));
    children.push_back(fails_after("first", 1ms));
    CHECK_THROWS_WITH(run_async_task(when_all(std::move(children))), "first");
    CHECK(unwound);
}

TEST_CASE("exceptions after the first are dropped") {
    struct children {
        static task<> fails_when_cancelled() {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            throw std::logic_error("later");
        }
    };
    CHECK_THROWS_WITH(run_async_task(when_all(children::fails_when_cancelled(), fails_after("first", 1ms),
                                              children::fails_when_cancelled())),
                      "first");
}

TEST_CASE("a child that fails before others have begun leaves nothing behind") {
    struct children {
        static task<int> hold(counted, foreign_event& never) {
            co_await sleep_for(1h);
            co_await never;
            co_return 0;
        }
    };
    const lifetimes log;
    foreign_event never;
    CHECK_THROWS_WITH(run_async_task(when_all(children::hold(counted(log), never), fails("at once"),
                                              children::hold(counted(log), never))),
                      "at once");
    CHECK(log.alive() == 0);
}

TEST_CASE("a child's operation_cancelled is an exception like any other") {
    bool unwound = false;
    const auto gives_up = []() -> task<int> {
        throw operation_cancelled();
        co_return 0;
    };
    CHECK_THROWS_AS(run_async_task(when_all(slow_to_unwind(unwound), gives_up())), operation_cancelled);
    CHECK(unwound);
}

TEST_CASE("the parent of a failed when_all is not cancelled itself") {
    const auto parent = []() -> task<int> {
        bool caught = false;
        try {
            co_await when_all(sleep_for(1h), fails("child"));
        } catch (const std::runtime_error&) {
            caught = true;
        }
        co_await sleep_for(1ms);
        co_return caught && !sincpro::cancellation_requested() ? 5 : 0;
    };
    CHECK(run_async_task(parent()) == 5);
}

TEST_CASE("cancelling the parent cancels all children and waits for them") {
    bool first = false;
    bool second = false;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        const auto last = [&]() -> task<> {
            begun.open();
            co_await sleep_for(1h);
        };
        co_await when_all(slow_to_unwind(first), slow_to_unwind(second), last);
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(first);
    CHECK(second);
}

TEST_CASE("children are destroyed on the worker thread, before their parent goes on") {
    struct children {
        static task<int> hold(counted) {
            co_await yield();
            co_return 1;
        }
        static task<int> hold_and_sleep(counted) {
            co_await sleep_for(1h);
            co_return 1;
        }
    };
    const lifetimes log;
    std::int64_t home = 0;
    const bool gone_in_time = run_async_task([&]() -> task<bool> {
        home = this_thread_number();
        co_await when_all(children::hold(counted(log)), children::hold(counted(log)));
        bool gone = log.alive() == 0;
        std::vector<task<int>> many;
        for (int i = 0; i < 10; ++i) {
            many.push_back(children::hold_and_sleep(counted(log)));
        }
        many.push_back(fails("child"));
        try {
            co_await when_all(std::move(many));
        } catch (const std::runtime_error&) {
            gone = gone && log.alive() == 0;
        }
        co_return gone;
    });
    CHECK(gone_in_time);
    CHECK(log.destroyed_on() == home);
}

TEST_CASE("children are destroyed on the worker thread when the bridge runs when_all itself") {
    struct children {
        static task<> hold(counted) { co_await yield(); }
    };
    const lifetimes log;
    run_async_task(when_all(children::hold(counted(log)), children::hold(counted(log))));
    CHECK(log.alive() == 0);
    CHECK(log.destroyed_on() != this_thread_number());
}

TEST_CASE("a when_all that is never awaited destroys its children and starts none") {
    bool ran = false;
    struct children {
        static task<> note(counted, bool& flag) {
            flag = true;
            co_return;
        }
    };
    const lifetimes log;
    {
        [[maybe_unused]] const auto unused =
            when_all(children::note(counted(log), ran), children::note(counted(log), ran));
        CHECK(log.alive() == 2);
    }
    CHECK(log.alive() == 0);
    CHECK_FALSE(ran);
}

TEST_CASE("when_all of 1 to 100,000 children gives every result") {
    for (const int size : {1, 2, 3, 10, 1'000, a_hundred_thousand}) {
        std::vector<task<int>> at_once;
        std::vector<task<int>> later;
        for (int i = 0; i < size; ++i) {
            at_once.push_back(number(i));
            later.push_back(number_after(i, 1ms));
        }
        std::vector<int> expected;
        for (int i = 0; i < size; ++i) {
            expected.push_back(i);
        }
        CHECK(run_async_task(when_all(std::move(at_once))) == expected);
        CHECK(run_async_task(when_all(std::move(later))) == expected);
    }
}

TEST_CASE("the failure of one of 100,000 children cancels all others") {
    struct children {
        static task<int> count(int& unwound) {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
                ++unwound;
                throw;
            }
            co_return 0;
        }
    };
    int unwound = 0;
    std::vector<task<int>> all;
    for (int i = 0; i < a_hundred_thousand; ++i) {
        all.push_back(children::count(unwound));
    }
    all.push_back(fails_after("last", 1ms));
    CHECK_THROWS_WITH(run_async_task(when_all(std::move(all))), "last");
    CHECK(unwound == a_hundred_thousand);
}

namespace {

task<int> deep(int depth) {
    if (depth == 0) {
        co_return 0;
    }
    const auto below = co_await when_all(deep(depth - 1));
    co_return 1 + std::get<0>(below);
}

task<int> deep_vector(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 0;
    }
    std::vector<task<int>> children;
    children.push_back(deep_vector(depth - 1));
    const auto below = co_await when_all(std::move(children));
    co_return 1 + below.front();
}

task<> deep_sleep(int depth, const gate& begun) {
    if (depth == 0) {
        begun.open();
        co_await sleep_for(1h);
    } else {
        co_await when_all(deep_sleep(depth - 1, begun));
    }
}

task<int> tree(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 1;
    }
    const auto below = co_await when_all(tree(depth - 1), tree(depth - 1));
    co_return std::get<0>(below) + std::get<1>(below);
}

}  // namespace

TEST_CASE("when_all may be nested 100,000 deep") {
    CHECK(run_async_task(deep(a_hundred_thousand)) == a_hundred_thousand);
    CHECK(run_async_task(deep_vector(a_hundred_thousand)) == a_hundred_thousand);
}

TEST_CASE("cancellation reaches the innermost of 100,000 nested when_all") {
    const gate begun;
    auto future = submit_async_task(deep_sleep(a_hundred_thousand, begun));
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
}

TEST_CASE("when_all may form a tree") { CHECK(run_async_task(tree(14)) == 1 << 14); }

TEST_CASE("1,000,000 awaits of when_all whose children finish synchronously need no stack") {
    const auto sum = [](int rounds) -> task<long> {
        long total = 0;
        for (int i = 0; i < rounds; ++i) {
            const auto pair = co_await when_all(number(1), number(2));
            total += std::get<0>(pair) + std::get<1>(pair);
        }
        co_return total;
    };
    CHECK(run_async_task(sum(a_million)) == 3L * a_million);
}

TEST_CASE("when_all may be given to the bridge with a timeout") {
    CHECK(run_async_task(when_all(number(1), number_after(2, 1ms)), 1h) == std::tuple(1, 2));
    sincpro::worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    bool unwound = false;
    CHECK_THROWS_AS(patient.run(when_all(slow_to_unwind(unwound), sleep_for(1h)), 20ms), sincpro::timeout_error);
}

namespace {

task<> fails_in_its_clean_up(const gate& begun) {
    try {
        begun.open();
        co_await sleep_for(1h);
    } catch (const sincpro::operation_cancelled&) {
        throw std::runtime_error("clean-up");
    }
}
task<> gives_up() {
    co_await yield();
    throw sincpro::operation_cancelled();
}

}  // namespace

TEST_CASE("a failure takes the place of an operation_cancelled that came first, in when_all and when_any") {
    const gate begun;
    CHECK_THROWS_WITH(run_async_task(when_all(gives_up(), fails_in_its_clean_up(begun))), "clean-up");
    CHECK_THROWS_WITH(run_async_task(when_all(fails_in_its_clean_up(begun), gives_up())), "clean-up");
    CHECK_THROWS_WITH(run_async_task(sincpro::when_any(gives_up(), fails_in_its_clean_up(begun))), "clean-up");
    std::vector<task<>> tasks;
    tasks.push_back(gives_up());
    tasks.push_back(fails_in_its_clean_up(begun));
    CHECK_THROWS_WITH(run_async_task(sincpro::when_any(std::move(tasks))), "clean-up");
}

TEST_CASE("when the parent is cancelled a failure of a child's clean-up is thrown, and not the cancellation") {
    for (int which = 0; which < 2; ++which) {
        const gate begun;
        auto future = sincpro::submit_async_task([&]() -> task<> {
            const auto waits = []() -> task<> { co_await sleep_for(1h); };
            if (which == 0) {
                co_await when_all(waits(), fails_in_its_clean_up(begun), waits());
            } else {
                co_await sincpro::when_any(waits(), fails_in_its_clean_up(begun), waits());
            }
        });
        begun.wait();
        future.cancel();
        CHECK_THROWS_WITH(future.get(), "clean-up");
    }
}

TEST_CASE("a closure that cannot be copied is passed by std::ref, and called in place") {
    const auto closure = [held = std::make_unique<int>(5)]() -> task<int> { co_return *held; };
    const auto both = [&]() -> task<int> {
        const auto got = co_await when_all(std::ref(closure), std::ref(closure));
        co_return std::get<0>(got) + std::get<1>(got);
    };
    CHECK(run_async_task(both()) == 10);
}

TEST_CASE("operations that another library's coroutine began and that outlive its task may be nested 300,000 deep") {
    struct coroutines {
        static task<> nested(int depth, std::optional<sincpro::completion<>>& innermost, gate all_began) {
            if (depth != 0) {
                co_await when_all(nested(depth - 1, innermost, all_began));
                co_return;
            }
            const auto initiate = [&](sincpro::completion<> done) {
                innermost = std::move(done);
                all_began.open();
            };
            co_await sincpro::await_callback(initiate);
        }
        static support::owned_coroutine begins(int depth, std::optional<sincpro::completion<>>& innermost,
                                               gate all_began, gate all_ended) {
            co_await nested(depth, innermost, all_began);
            all_ended.open();
        }
        static task<> ends_before(std::optional<support::owned_coroutine>& running, int depth,
                                  std::optional<sincpro::completion<>>& innermost, gate all_began, gate all_ended) {
            running.emplace(begins(depth, innermost, all_began, all_ended));
            const auto wait = [](const gate& g) { g.wait(); };
            co_await sincpro::to_thread(wait, all_began);
        }
    };
    std::optional<support::owned_coroutine> running;
    std::optional<sincpro::completion<>> innermost;
    const gate all_began, all_ended;
    run_async_task(coroutines::ends_before(running, 3 * support::a_hundred_thousand, innermost, all_began, all_ended));
    (*innermost)();
    all_ended.wait();
    run_async_task(yield());
}
