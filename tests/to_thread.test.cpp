#include <sincpro/async_worker/to_thread.hpp>

#include <sincpro/async_worker.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#endif

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/owned_coroutine.hpp"
#include "support/sanitizers.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::abandon_on_cancel;
using sincpro::cancellation_requested;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::to_thread;
using sincpro::worker;
using sincpro::worker_options;
using sincpro::worker_stopped;
using sincpro::yield;
using support::arrivals;
using support::counted;
using support::gate;
using support::lifetimes;
using support::opens_at_exit;
using support::owned_coroutine;
using support::this_thread_number;

struct without_default {
    explicit without_default(int v) : value(v) {}
    int value;
};

int twice(int n) { return 2 * n; }

int fails(const char* text) { throw std::runtime_error(text); }

/// Runs until its task is cancelled; a defect makes it give up, so that the test can say so.
bool wait_for_cancellation() {
    const auto give_up = std::chrono::steady_clock::now() + support::patience;
    while (!cancellation_requested()) {
        if (std::chrono::steady_clock::now() > give_up) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

static_assert(std::is_same_v<decltype(run_async_task(to_thread(twice, 1))), int>);

}  // namespace

TEST_CASE("to_thread gives what the function returns") {
    struct functions {
        static int& reference(std::reference_wrapper<int> to) { return to; }
        static std::unique_ptr<int> move_only(int n) { return std::make_unique<int>(n); }
        static without_default odd(int n) { return without_default(n); }
        static void nothing() {}
        int member(int n) const { return base + n; }
        int base = 40;
    };
    CHECK(run_async_task(to_thread(twice, 21)) == 42);
    CHECK(run_async_task(to_thread(&twice, 21)) == 42);
    int there = 1;
    CHECK(&run_async_task(to_thread(functions::reference, std::ref(there))) == &there);
    CHECK(*run_async_task(to_thread(functions::move_only, 2)) == 2);
    CHECK(run_async_task(to_thread(functions::odd, 3)).value == 3);
    run_async_task(to_thread(functions::nothing));
    CHECK(run_async_task(to_thread(&functions::member, functions(), 2)) == 42);
    CHECK(run_async_task(to_thread([] { return 5; })) == 5);
    CHECK(run_async_task([]() -> task<int> { co_return 1 + co_await to_thread(twice, 2); }) == 5);
}

TEST_CASE("what a function returned or threw is gone when the task that awaits it has ended") {
    const lifetimes log;
    int outlived = 0;
    const auto returns = [&] { return counted(log); };
    const auto throws = [&]() -> counted { throw counted(log); };
    for (int round = 0; round < support::a_hundred_thousand / 10; ++round) {
        run_async_task(to_thread(returns));
        outlived += log.alive();
        CHECK_THROWS_AS(run_async_task(to_thread(throws)), counted);
        outlived += log.alive();
    }
    CHECK(outlived == 0);
}

TEST_CASE("an exception of the function is thrown by the co_await") {
    CHECK_THROWS_WITH(run_async_task(to_thread(fails, "on a helper thread")), "on a helper thread");
    const bool caught = run_async_task([]() -> task<bool> {
        bool is_caught = false;
        try {
            co_await to_thread(fails, "caught");
        } catch (const std::runtime_error&) {
            is_caught = true;
        }
        co_return is_caught;
    });
    CHECK(caught);
}

TEST_CASE("the function and its arguments are moved to the helper, not copied, and destroyed there or before") {
    struct functions {
        static int take(const counted&, std::unique_ptr<int> n) { return *n; }
    };
    const lifetimes log;
    CHECK(run_async_task(to_thread(functions::take, counted(log), std::make_unique<int>(5))) == 5);
    CHECK(log.copied() == 0);
    CHECK(log.wait_until_gone());

    const counted lvalue(log);
    CHECK(run_async_task(to_thread(functions::take, lvalue, std::make_unique<int>(6))) == 6);
    CHECK(log.copied() == 1);
}

TEST_CASE("the function and its arguments are gone before the task goes on, whose own objects they may refer to") {
    struct functions {
        static void take(const counted&) {}
    };
    struct coroutines {
        static task<bool> await(lifetimes log) {
            auto operation = to_thread(functions::take, counted(log));
            const auto home = this_thread_number();
            co_await std::move(operation);
            co_return log.destroyed_on() != 0 && log.destroyed_on() != home;
        }
    };
    const lifetimes log;
    CHECK(run_async_task(coroutines::await(log)));
}

TEST_CASE("another library's coroutine that is destroyed while a function runs does not wait for it") {
    struct coroutines {
        static owned_coroutine wait(gate begun, gate go_on, gate ended) {
            const auto function = [=] {
                begun.open();
                go_on.wait();
                ended.open();
            };
            co_await to_thread(function);
        }
        static task<> destroy(gate begun, gate go_on, gate ended) {
            {
                const owned_coroutine waits = wait(begun, go_on, ended);
                begun.wait();
            }
            go_on.open();
            co_return;
        }
    };
    const gate begun, go_on, ended;
    run_async_task(coroutines::destroy(begun, go_on, ended));
    ended.wait();
}

TEST_CASE("the function never runs on the worker thread nor on the caller's, and the task is back afterwards") {
    const bool elsewhere = run_async_task([caller = this_thread_number()]() -> task<bool> {
        const auto home = this_thread_number();
        bool always = true;
        for (int i = 0; i < 100; ++i) {
            const auto there = co_await to_thread(this_thread_number);
            always = always && there != home && there != caller && this_thread_number() == home;
        }
        co_return always;
    });
    CHECK(elsewhere);
}

TEST_CASE("the loop goes on while functions run") {
    const gate release;
    const opens_at_exit at_end(release);
    const auto wait = [&release] { release.wait(); };
    auto blocked = submit_async_task(to_thread(wait));
    run_async_task(sleep_for(1ms));
    CHECK(run_async_task(to_thread(twice, 1)) == 2);
    CHECK(blocked.wait_for(0s) == std::future_status::timeout);
    release.open();
    blocked.get();
}

TEST_CASE("every running function has a thread of its own") {
    constexpr std::ptrdiff_t functions = 100;
    std::latch all_inside(functions);
    const auto meet = [&] { all_inside.arrive_and_wait(); };
    const auto call = [&]() -> task<> { co_await to_thread(meet); };
    std::vector<task<>> all;
    for (std::ptrdiff_t i = 0; i < functions; ++i) {
        all.push_back(call());
    }
    run_async_task(sincpro::when_all(std::move(all)));
    CHECK(all_inside.try_wait());
}

TEST_CASE("idle helper threads are reused") {
    worker w;
    const auto threads = w.run([]() -> task<std::size_t> {
        std::set<std::int64_t> seen;
        for (int i = 0; i < 500; ++i) {
            seen.insert(co_await to_thread(this_thread_number));
        }
        co_return seen.size();
    });
    CHECK(threads < 250);
}

TEST_CASE("a cancelled task waits until the function has returned, so the function may use what the task owns") {
    const gate begun;
    const gate go_on;
    const opens_at_exit at_end(go_on);
    std::string log;
    auto future = submit_async_task([&]() -> task<> {
        std::string local;
        const auto function = [&] {
            begun.open();
            const bool seen = wait_for_cancellation();
            go_on.wait();
            local += seen ? "saw it" : "did not see it";
        };
        try {
            co_await to_thread(function);
            log = "completed";
        } catch (const operation_cancelled&) {
            log = "cancelled; function " + local;
            throw;
        }
    });
    begun.wait();
    future.cancel();
    run_async_task(yield());
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    go_on.open();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log == "cancelled; function saw it");
}

TEST_CASE("with abandon_on_cancel a cancelled task goes on at once, and the function ends by itself") {
    struct functions {
        static void run(const counted&, const gate& begun, const gate& go_on, const gate& ended, bool& saw_it) {
            begun.open();
            saw_it = wait_for_cancellation();
            go_on.wait();
            ended.open();
        }
    };
    const lifetimes log;
    const gate begun;
    const gate go_on;
    const gate ended;
    const opens_at_exit at_end(go_on);
    bool saw_it = false;
    auto future = submit_async_task(
        to_thread(abandon_on_cancel, functions::run, counted(log), begun, go_on, ended, std::ref(saw_it)));
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log.alive() > 0);
    CHECK_FALSE(ended.is_open());
    go_on.open();
    ended.wait();
    CHECK(log.wait_until_gone());
    CHECK(saw_it);
}

TEST_CASE("with abandon_on_cancel an uncancelled task gets the result") {
    CHECK(run_async_task(to_thread(abandon_on_cancel, twice, 21)) == 42);
    CHECK_THROWS_WITH(run_async_task(to_thread(abandon_on_cancel, fails, "as it is")), "as it is");
}

TEST_CASE("a shutdown without a time limit waits for the functions of to_thread, also for abandoned ones") {
    worker_options options;
    options.shutdown_grace = std::chrono::milliseconds::max();
    worker w(std::move(options));
    std::atomic<bool> returned{false};
    const gate begun;
    const auto function = [&] {
        begun.open();
        wait_for_cancellation();
        std::this_thread::sleep_for(5ms);  // behind the end of the task
        returned = true;
    };
    auto future = w.submit(to_thread(abandon_on_cancel, function));
    begun.wait();
    w.shutdown();
    CHECK(returned);
    CHECK_THROWS_AS(future.get(), operation_cancelled);
}

TEST_CASE("what an abandoned function returns or throws is dropped") {
    struct functions {
        static counted give(lifetimes log, const gate& begun, const gate& go_on) {
            begun.open();
            go_on.wait();
            return counted(log);
        }
        static void fail(const gate& begun, const gate& go_on, const counted&) {
            begun.open();
            go_on.wait();
            throw std::runtime_error("nobody listens");
        }
    };
    const lifetimes log;
    const gate given;
    const gate failed;
    const gate go_on;
    const opens_at_exit at_end(go_on);
    auto gives = submit_async_task([&]() -> task<> {
        const counted got = co_await to_thread(abandon_on_cancel, functions::give, log, given, go_on);
    });
    auto throws = submit_async_task(to_thread(abandon_on_cancel, functions::fail, failed, go_on, counted(log)));
    given.wait();
    failed.wait();
    gives.cancel();
    throws.cancel();
    CHECK_THROWS_AS(gives.get(), operation_cancelled);
    CHECK_THROWS_AS(throws.get(), operation_cancelled);
    go_on.open();
    CHECK(log.wait_until_gone());
}

TEST_CASE("cancellation_requested in a function is false until its task is cancelled") {
    const gate begun;
    bool at_first = true;
    bool in_the_end = false;
    const auto function = [&] {
        at_first = cancellation_requested();
        begun.open();
        in_the_end = wait_for_cancellation();
    };
    auto future = submit_async_task(to_thread(function));
    begun.wait();
    CHECK(run_async_task(to_thread(cancellation_requested)) == false);
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK_FALSE(at_first);
    CHECK(in_the_end);
    CHECK(run_async_task(to_thread(cancellation_requested)) == false);
}

TEST_CASE("a timeout of the bridge is seen by the function") {
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    const gate begun;
    bool seen = false;
    const auto function = [&] {
        begun.open();
        seen = wait_for_cancellation();
    };
    // On a slow machine the time may be over before the function has begun; then it gets more.
    for (auto time = 10ms; !begun.is_open(); time *= 2) {
        CHECK_THROWS_AS(patient.run(to_thread(function), time), sincpro::timeout_error);
    }
    CHECK(seen);
}

TEST_CASE("in a task that is cancelled already the function is not run") {
    bool ran = false;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        const auto function = [&] { ran = true; };
        co_await to_thread(function);
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK_FALSE(ran);
}

namespace {

template <class Operation>
task<> keep(Operation make, int& got) {
    got = co_await make();
}

task<> block_and_throw(gate returned, std::chrono::milliseconds longer) {
    co_await yield();
    returned.wait();
    std::this_thread::sleep_for(longer);
    throw std::runtime_error("cancels the other");
}

/// What a task gets from the function that `make(gate)` hands to a thread, if it is cancelled after that has returned.
template <class Make>
int got_when_cancelled_late(Make make) {
    int got = 0;
    // Nothing tells when the thread has reported that the function has returned; too early, and the result is lost.
    for (auto longer = 1ms; got == 0 && longer < support::patience; longer *= 2) {
        const gate returned;
        const auto begin = [&] { return make(returned); };
        CHECK_THROWS_AS(run_async_task(when_all(keep(begin, got), block_and_throw(returned, longer))),
                        std::runtime_error);
    }
    return got;
}

}  // namespace

TEST_CASE("a function that had returned when the cancellation came keeps its result, also if it may be abandoned") {
    const auto give = [](gate g) {
        g.open();
        return 5;
    };
    CHECK(got_when_cancelled_late([&](gate g) { return to_thread(give, g); }) == 5);
    CHECK(got_when_cancelled_late([&](gate g) { return to_thread(abandon_on_cancel, give, g); }) == 5);
}

TEST_CASE("a function that was left to itself is no part of what its worker does later") {
    worker w({.shutdown_grace = 1ms});
    const gate begun, go_on, ended;
    std::string refused = "never called";
    auto future = w.submit([&] {
        return to_thread(abandon_on_cancel, [&] {
            begun.open();
            go_on.wait();
            try {
                w.shutdown();  // refused to whom it would wait for
                refused.clear();
            } catch (const std::system_error& e) {
                refused = e.what();
            }
            ended.open();
        });
    });
    begun.wait();
    w.shutdown();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    future = {};
    w.run(yield());  // on a new loop, perhaps where the first one was
    go_on.open();
    ended.wait();
    CHECK(refused == "");
}
