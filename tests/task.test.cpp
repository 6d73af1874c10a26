#include <sincpro/async_worker/task.hpp>

#include <sincpro/async_worker.hpp>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
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
using sincpro::run_async_task;
using sincpro::task;
using sincpro::yield;
using support::a_hundred_thousand;
using support::a_million;
using support::counted;
using support::foreign_lazy;
using support::gate;
using support::lifetimes;

static_assert(!std::is_copy_constructible_v<task<int>>);
static_assert(!std::is_copy_assignable_v<task<int>>);
static_assert(std::is_nothrow_move_constructible_v<task<int>>);
static_assert(std::is_move_assignable_v<task<int>>);
static_assert(std::is_same_v<task<>, task<void>>);

/// Runs a coroutine as another library would: on this thread, and no worker is near.
template <class T>
T drive(foreign_lazy<T> coroutine) {
    auto awaiter = std::move(coroutine).operator co_await();
    awaiter.await_suspend(std::noop_coroutine()).resume();
    return awaiter.await_resume();
}

template <class T>
foreign_lazy<T> awaiting(task<T> inner) {
    co_return co_await std::move(inner);
}

struct without_default {
    explicit without_default(int v) : value(v) {}
    without_default(const without_default&) = default;
    without_default& operator=(const without_default&) = delete;
    int value;
};

task<int> number(int n) { co_return n; }

task<> set(bool& flag) {
    flag = true;
    co_return;
}

task<> keep(counted) { co_return; }

task<counted> make_counted(lifetimes log) { co_return counted(log); }

task<int> throws(const char* text) {
    if (text != nullptr) {
        throw std::runtime_error(text);
    }
    co_return 0;
}

}  // namespace

TEST_CASE("a task does not run before it is awaited") {
    bool ran = false;
    auto t = set(ran);
    CHECK_FALSE(ran);
    run_async_task(std::move(t));
    CHECK(ran);
}

TEST_CASE("a task that is never awaited destroys its arguments and does not run") {
    const lifetimes log;
    {
        const auto t = keep(counted(log));
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("assigning to a task destroys the one that was there") {
    const lifetimes first;
    const lifetimes second;
    auto t = keep(counted(first));
    t = keep(counted(second));
    CHECK(first.alive() == 0);
    CHECK(second.alive() == 1);
    run_async_task(std::move(t));
    CHECK(second.alive() == 0);
}

TEST_CASE("assigning a task to itself changes nothing") {
    auto t = number(5);
    auto& same = t;
    t = std::move(same);
    CHECK(run_async_task(std::move(t)) == 5);
}

TEST_CASE("awaiting a task that was awaited or moved from before is a logic_error") {
    struct coroutines {
        static task<int> twice(task<int> inner) {
            const int first = co_await std::move(inner);
            co_return first + co_await std::move(inner);
        }
        static task<int> moved_from(task<int> inner) {
            const auto elsewhere = std::move(inner);
            co_return co_await std::move(inner);
        }
    };
    CHECK_THROWS_AS(run_async_task(coroutines::twice(number(5))), std::logic_error);
    CHECK_THROWS_AS(run_async_task(coroutines::moved_from(number(5))), std::logic_error);
    auto moved_from = number(5);
    CHECK(run_async_task(std::move(moved_from)) == 5);
    CHECK_THROWS_AS(drive(awaiting(std::move(moved_from))), std::logic_error);
}

TEST_CASE("a task gives values, references, move-only and not default-constructible results to its awaiter") {
    struct children {
        static task<> nothing() { co_return; }
        static task<int&> reference(int& to) { co_return to; }
        static task<const std::string&> constant(const std::string& to) { co_return to; }
        static task<std::unique_ptr<int>> move_only() { co_return std::make_unique<int>(7); }
        static task<without_default> odd() { co_return without_default(8); }
        static task<std::string> converted() { co_return "text"; }
        static task<std::pair<std::string, int>> braces() { co_return {"text", 9}; }
        static task<const int> constant_value() { co_return 10; }
    };
    run_async_task([]() -> task<> {
        int there = 1;
        const std::string text = "constant";
        co_await children::nothing();
        int& back = co_await children::reference(there);
        CHECK(&back == &there);
        const std::string& text_back = co_await children::constant(text);
        CHECK(&text_back == &text);
        const std::unique_ptr<int> seven = co_await children::move_only();
        CHECK(*seven == 7);
        const without_default eight = co_await children::odd();
        CHECK(eight.value == 8);
        const std::string converted = co_await children::converted();
        CHECK(converted == "text");
        const std::pair<std::string, int> pair = co_await children::braces();
        CHECK(pair.first == "text");
        CHECK(pair.second == 9);
        const int ten = co_await children::constant_value();
        CHECK(ten == 10);
    });
}

TEST_CASE("an exception_ptr that a task returns is a result, not a failure") {
    const auto error = std::make_exception_ptr(std::runtime_error("data"));
    const auto make = [](std::exception_ptr e) -> task<std::exception_ptr> { co_return e; };
    CHECK(run_async_task(make(error)) == error);
    CHECK(run_async_task(make(nullptr)) == nullptr);
}

TEST_CASE("a result is moved to the awaiter, not copied, and destroyed once") {
    const lifetimes log;
    run_async_task([&]() -> task<> {
        const counted result = co_await make_counted(log);
        CHECK(log.alive() == 1);
    });
    CHECK(log.copied() == 0);
    CHECK(log.alive() == 0);
}

TEST_CASE("the frame of an awaited task is gone when its awaiter goes on") {
    const lifetimes log;
    const int alive_after = run_async_task([&]() -> task<int> {
        co_await keep(counted(log));
        co_return log.alive();
    });
    CHECK(alive_after == 0);
}

TEST_CASE("awaiting a task that was moved from throws std::logic_error, in tasks and in other libraries' coroutines") {
    task<int> empty = number(1);
    const task<int> holder = std::move(empty);
    const auto await_it = [&]() -> task<int> {
        const int value = co_await std::move(empty);
        co_return value;
    };
    CHECK_THROWS_AS(run_async_task(await_it), std::logic_error);
    CHECK_THROWS_AS(run_async_task(std::move(empty)), std::logic_error);
    CHECK_THROWS_AS(drive(awaiting(std::move(empty))), std::logic_error);
}

TEST_CASE("an exception reaches the awaiter as the same object and can be caught there") {
    struct knows_itself : std::runtime_error {
        knows_itself() : std::runtime_error("knows itself"), self(this) {}
        knows_itself* self;
    };
    struct children {
        static task<> fails() {
            throw knows_itself();
            co_return;
        }
        static task<> passes_on() { co_await fails(); }
    };
    const bool same = run_async_task([]() -> task<bool> {
        bool is_same = false;
        try {
            co_await children::passes_on();
        } catch (const knows_itself& e) {
            is_same = e.self == &e;
        }
        co_await yield();
        co_return is_same;
    });
    CHECK(same);
}

TEST_CASE("1,000,000 awaits of tasks that finish synchronously need no stack") {
    const auto sum = [](int rounds) -> task<long> {
        long total = 0;
        for (int i = 0; i < rounds; ++i) {
            total += co_await number(1);
        }
        co_return total;
    };
    CHECK(run_async_task(sum(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of tasks that throw or return synchronously in turn need no stack") {
    const auto count = [](int rounds) -> task<int> {
        int caught = 0;
        for (int i = 0; i < rounds; ++i) {
            if (i % 50 != 0) {
                co_await number(i);
                continue;
            }
            try {
                co_await throws("again");
            } catch (const std::runtime_error&) {
                ++caught;
            }
        }
        co_return caught;
    };
    CHECK(run_async_task(count(a_million)) == a_million / 50);
}

namespace {

task<int> nested(int depth) {
    if (depth == 0) {
        co_return 0;
    }
    co_return 1 + co_await nested(depth - 1);
}

task<int> nested_yield(int depth) {
    if (depth == 0) {
        co_await yield();
        co_return 0;
    }
    co_return 1 + co_await nested_yield(depth - 1);
}

task<> nested_throw(int depth) {
    if (depth == 0) {
        throw std::runtime_error("from the depth");
    }
    co_await nested_throw(depth - 1);
}

}  // namespace

TEST_CASE("100,000 nested tasks return without recursion") {
    CHECK(run_async_task(nested(a_hundred_thousand)) == a_hundred_thousand);
}

TEST_CASE("100,000 nested tasks return without recursion after the innermost was suspended") {
    CHECK(run_async_task(nested_yield(a_hundred_thousand)) == a_hundred_thousand);
}

TEST_CASE("an exception passes through 100,000 nested tasks") {
    REQUIRE_THROWS_WITH(run_async_task(nested_throw(a_hundred_thousand)), "from the depth");
}

namespace {

template <std::size_t Size>
task<std::size_t> with_locals(std::integral_constant<std::size_t, Size>) {  // of the type, which GCC 11 needs
    std::array<unsigned char, Size> local{};
    local.back() = 1;
    co_await yield();
    co_return Size - 1 + local.back();
}
template <std::size_t Size>
constexpr std::integral_constant<std::size_t, Size> bytes;

}  // namespace

TEST_CASE("frames of any size work, on whichever threads they are made and destroyed") {
    CHECK(run_async_task(with_locals(bytes<1>)) == 1);
    CHECK(run_async_task(with_locals(bytes<1'000>)) == 1'000);
    CHECK(run_async_task(with_locals(bytes<100'000>)) == 100'000);

    const auto unused = run_async_task([]() -> task<std::vector<task<int>>> {
        std::vector<task<int>> made;
        for (int i = 0; i < 1'000; ++i) {
            made.push_back(number(i));
        }
        co_return made;
    });
    CHECK(unused.size() == 1'000);

    std::vector<task<int>> made;
    for (int i = 0; i < 1'000; ++i) {
        made.push_back(number(i));
    }
    std::thread([moved = std::move(made)]() mutable { moved.clear(); }).join();
}

TEST_CASE("a task that another task returned runs later") {
    const auto make = [](int n) -> task<task<int>> { co_return number(n); };
    auto inner = run_async_task(make(5));
    CHECK(run_async_task(std::move(inner)) == 5);
}

TEST_CASE("a task awaited by a coroutine of another library gives its result there") {
    CHECK(drive(awaiting(number(5))) == 5);
    REQUIRE_THROWS_WITH(drive(awaiting(throws("mine"))), "mine");
    CHECK(run_async_task(awaiting(nested_yield(10))) == 10);
}

TEST_CASE("a task awaited by a coroutine of another library may be nested 100,000 deep") {
    CHECK(drive(awaiting(nested(a_hundred_thousand))) == a_hundred_thousand);
}

TEST_CASE("another library's coroutine may await a task as an lvalue, once: the second await is std::logic_error") {
    struct coroutines {
        static foreign_lazy<int> await_twice(task<int>& t, bool& refused) {
            const int first = co_await t;
            try {
                co_await t;
            } catch (const std::logic_error&) {
                refused = true;
            }
            co_return first;
        }
    };
    task<int> once = number(5);
    bool refused = false;
    CHECK(drive(coroutines::await_twice(once, refused)) == 5);
    CHECK(refused);
}

TEST_CASE("the awaiter of a task may be moved until it is suspended, and destroys the frame wherever it is") {
    const lifetimes log;
    {
        auto first = keep(counted(log)).operator co_await();
        auto second = std::move(first);
        CHECK(log.alive() == 1);
        struct coroutines {
            static foreign_lazy<> await(decltype(second) stored) { co_await std::move(stored); }
        };
        drive(coroutines::await(std::move(second)));
        CHECK(log.alive() == 0);
        [[maybe_unused]] const auto never_awaited = keep(counted(log)).operator co_await();
    }
    CHECK(log.alive() == 0);
}

namespace {

struct ours_and_theirs {
    static task<int> ours(int depth) {
        if (depth == 0) co_return 0;
        co_return 1 + co_await theirs(depth - 1);
    }
    static foreign_lazy<int> theirs(int depth) {
        if (depth == 0) co_return 0;
        co_return 1 + co_await ours(depth - 1);
    }
};

}  // namespace

TEST_CASE("tasks and another library's coroutines may await each other in turn, 1,000,000 deep") {
    CHECK(run_async_task(ours_and_theirs::ours(a_million)) == a_million);
}

TEST_CASE("a second co_return, when a destructor throws at the first and the handler returns too, is the result") {
    struct throws_at_the_end {
        ~throws_at_the_end() noexcept(false) { throw std::runtime_error("destructor"); }
    };
    struct coroutines {
        static task<int> returns_twice() {
            try {
                const throws_at_the_end local;
                co_return 1;
            } catch (const std::runtime_error&) {
            }
            co_return 2;
        }
    };
    CHECK(run_async_task(coroutines::returns_twice()) == 2);
}

TEST_CASE("1,000,000 synchronous awaits by a coroutine of another library need no stack") {
    struct coroutines {
        static foreign_lazy<long> sum(int rounds) {
            long total = 0;
            for (int i = 0; i < rounds; ++i) {
                total += co_await number(1);
            }
            co_return total;
        }
    };
    CHECK(drive(coroutines::sum(a_million)) == a_million);
    CHECK(run_async_task(coroutines::sum(a_million)) == a_million);
}

TEST_CASE("a task without a worker goes on when what it awaits is resumed") {
    struct coroutines {
        static task<int> wait(support::foreign_event& event, int n) {
            co_await event;
            co_return n;
        }
        static foreign_lazy<> store(support::foreign_event& event, int& into) { into = co_await wait(event, 5); }
    };
    support::foreign_event event;
    int result = 0;
    auto coroutine = coroutines::store(event, result);
    std::move(coroutine).operator co_await().await_suspend(std::noop_coroutine()).resume();
    CHECK(result == 0);
    event.set();
    CHECK(result == 5);
}

namespace {

struct never_resumes {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};

class notes_its_end {
public:
    notes_its_end(int name, std::vector<int>& order) : name_(name), order_(&order) {}
    notes_its_end(const notes_its_end&) = delete;
    notes_its_end& operator=(const notes_its_end&) = delete;
    ~notes_its_end() { order_->push_back(name_); }

private:
    int name_;
    std::vector<int>* order_;
};

bool is_ascending(const std::vector<int>& order, int last) {
    std::vector<int> expected(static_cast<std::size_t>(last) + 1);
    std::iota(expected.begin(), expected.end(), 0);
    return order == expected;
}

task<> link(int depth, std::vector<int>& order) {
    const notes_its_end local(depth, order);
    if (depth == 0) {
        co_await never_resumes();
    } else {
        co_await link(depth - 1, order);
    }
}

}  // namespace

TEST_CASE("destroying 100,000 suspended tasks goes from the innermost out and does not overflow the stack") {
    constexpr int depth = a_hundred_thousand;
    std::vector<int> order;
    order.reserve(depth + 1);
    {
        auto coroutine = awaiting(link(depth, order));
        std::move(coroutine).operator co_await().await_suspend(std::noop_coroutine()).resume();
        REQUIRE(order.empty());
    }
    CHECK(is_ascending(order, depth));
}

TEST_CASE("cancelling unwinds 100,000 suspended tasks from the innermost out") {
    struct chain {
        static task<> sleep(int depth, std::vector<int>& order, const gate& begun) {
            const notes_its_end local(depth, order);
            if (depth == 0) {
                begun.open();
                co_await sincpro::sleep_for(1h);
            } else {
                co_await sleep(depth - 1, order, begun);
            }
        }
    };
    constexpr int depth = a_hundred_thousand;
    std::vector<int> order;
    order.reserve(depth + 1);
    const gate begun;
    auto future = sincpro::submit_async_task(chain::sleep(depth, order, begun));
    begun.wait();
    future.cancel();
    REQUIRE_THROWS_AS(future.get(), sincpro::operation_cancelled);
    CHECK(is_ascending(order, depth));
}
