#include <sincpro/async_worker/task_future.hpp>

#include <sincpro/async_worker/cancellation.hpp>
#include <sincpro/async_worker/errors.hpp>
#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/worker.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/threads.hpp"
#include "support/thrown.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::task_future;
using sincpro::worker;
using sincpro::yield;
using support::arrivals;
using support::counted;
using support::foreign_event;
using support::gate;
using support::lifetimes;
using support::opens_at_exit;
using support::this_thread_number;
using support::thrown;
using support::thrown_by;

static_assert(!std::is_base_of_v<std::future<int>, task_future<int>>);
static_assert(std::is_convertible_v<task_future<int>, std::future<int>>);
static_assert(!std::is_convertible_v<task_future<int>&, std::future<int>>);
static_assert(std::is_nothrow_move_constructible_v<task_future<int>>);
static_assert(std::is_nothrow_move_assignable_v<task_future<int>>);
static_assert(!std::is_copy_constructible_v<task_future<int>>);
static_assert(std::is_same_v<decltype(submit_async_task(std::declval<task<int>>())), task_future<int>>);
static_assert(std::is_same_v<decltype(submit_async_task(std::declval<task<>>())), task_future<void>>);
static_assert(std::is_same_v<decltype(submit_async_task(std::declval<task<int&>>())), task_future<int&>>);
static_assert(
    std::is_same_v<decltype(submit_async_task(std::declval<support::ready_awaiter<int&&>>())), task_future<int>>);

struct bespoke_error : std::runtime_error {
    explicit bespoke_error(int c) : std::runtime_error("bespoke"), code(c) {}
    int code;
};

template <class T>
task<T> gives(T value) {
    co_await yield();
    co_return std::move(value);
}

task<int> gives_at(foreign_event& event, int value) {
    co_await event;
    co_return value;
}

task<> fails_with(std::exception_ptr error) {
    co_await yield();
    std::rethrow_exception(error);
}

task<> fails_at(foreign_event& event, std::exception_ptr error) {
    co_await event;
    std::rethrow_exception(error);
}

task<std::int64_t> thread_of_task() { co_return this_thread_number(); }

task<int> waits(gate begun, [[maybe_unused]] counted object) {
    begun.open();
    co_await sleep_for(std::chrono::hours::max());
    co_return 0;
}

task<int> blocks(gate begun, gate end) {
    begun.open();
    end.wait();
    co_return 1;
}

/// Everything that was handed over before has been looked at by the worker.
void pass_through(worker& w) {
    for (int i = 0; i < 5; ++i) {
        CHECK(w.run(gives(i)) == i);
    }
}

/// A worker and what its on_unobserved_exception was given.
class watched_worker {
public:
    struct report {
        std::exception_ptr error;
        std::int64_t thread;
    };

    watched_worker() : worker_(options(state_)) {}
    worker* operator->() { return &worker_; }
    worker& operator*() { return worker_; }

    std::vector<report> reports() const {
        std::lock_guard lock(state_->mutex);
        return state_->reports;
    }
    /// Blocks until there are `n`.
    void wait_for_reports(std::size_t n) const { state_->arrived.wait(n); }

private:
    struct state {
        std::mutex mutex;
        std::vector<report> reports;
        arrivals arrived;
    };

    static sincpro::worker_options options(std::shared_ptr<state> to) {
        sincpro::worker_options made;
        made.on_unobserved_exception = [to](std::exception_ptr error) {
            {
                std::lock_guard lock(to->mutex);
                to->reports.push_back({error, this_thread_number()});
            }
            to->arrived.arrive();
        };
        return made;
    }

    std::shared_ptr<state> state_ = std::make_shared<state>();
    worker worker_;
};

}  // namespace

// Read

TEST_CASE("submit does not block, and the future gives the result") {
    const gate begun, end;
    auto future = submit_async_task(blocks(begun, end));
    begun.wait();
    CHECK(future.valid());
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    end.open();
    CHECK(future.get() == 1);
    CHECK_FALSE(future.valid());
}

TEST_CASE("submit takes what run takes") {
    int value = 0;
    struct coroutines {
        static task<int&> refers(int& to) { co_return to; }
        static task<> nothing() { co_return; }
    };
    CHECK(&submit_async_task(coroutines::refers(value)).get() == &value);
    submit_async_task(coroutines::nothing()).get();
    submit_async_task(coroutines::nothing).get();
    CHECK(*submit_async_task(gives(std::make_unique<int>(3))).get() == 3);
    CHECK(submit_async_task(support::resumes_on_new_thread<int>(4)).get() == 4);
    CHECK(submit_async_task(support::free_co_await<int>{5}).get() == 5);
    const support::ready_awaiter<int> lvalue(6);
    CHECK(submit_async_task(lvalue).get() == 6);
    auto text = std::make_unique<std::string>("alive");
    auto future = submit_async_task([text = std::move(text)]() -> task<std::string> {
        co_await sleep_for(2ms);
        co_return *text;
    });
    CHECK(future.get() == "alive");
    submit_async_task(sleep_for(1ms)).get();
}

TEST_CASE("wait, wait_for and wait_until of a future see its result") {
    auto future = submit_async_task(gives(3));
    future.wait();
    CHECK(future.wait_for(0s) == std::future_status::ready);
    CHECK(future.wait_for(std::chrono::hours::max()) == std::future_status::ready);
    CHECK(future.wait_until(std::chrono::steady_clock::now()) == std::future_status::ready);
    CHECK(future.wait_until(std::chrono::system_clock::now()) == std::future_status::ready);
    CHECK(future.get() == 3);
}

TEST_CASE("waiting for a huge time waits until the task has ended") {
    struct coroutines {
        static task<int> later(int value) {
            co_await sleep_for(20ms);
            co_return value;
        }
    };
    auto first = submit_async_task(coroutines::later(1));
    CHECK(first.wait_for(std::chrono::hours::max()) == std::future_status::ready);
    auto second = submit_async_task(coroutines::later(2));
    CHECK(second.wait_for(std::chrono::nanoseconds::max()) == std::future_status::ready);
    auto third = submit_async_task(coroutines::later(3));
    CHECK(third.wait_until(std::chrono::steady_clock::time_point::max()) == std::future_status::ready);
    CHECK(first.get() + second.get() + third.get() == 6);
}

TEST_CASE("wait_until takes times of other clocks too") {
    const gate go_on;
    const auto wait_for_it = [go_on]() -> task<int> {
        while (!go_on.is_open()) co_await yield();
        co_return 1;
    };
    auto future = submit_async_task(wait_for_it);
    CHECK(future.wait_until(std::chrono::system_clock::now() + 1ms) == std::future_status::timeout);
    go_on.open();
    CHECK(future.wait_until(std::chrono::system_clock::now() + support::patience) == std::future_status::ready);
    CHECK(future.get() == 1);
}

TEST_CASE("a future rethrows the same exception object, the callable's too") {
    const auto original = std::make_exception_ptr(bespoke_error(1));
    auto from_task = submit_async_task(fails_with(original));
    CHECK(thrown_by([&] { return (from_task.get(), 0); }) == original);
    const auto throwing = [&]() -> task<> { std::rethrow_exception(original); };
    auto from_callable = submit_async_task(throwing);
    CHECK(thrown_by([&] { return (from_callable.get(), 0); }) == original);
}

TEST_CASE("the frame is destroyed on the worker thread before the future is ready") {
    struct slow_to_die {
        slow_to_die(bool& d, std::int64_t& o) : dead(d), on(o) {}
        slow_to_die(const slow_to_die&) = delete;
        ~slow_to_die() {
            std::this_thread::sleep_for(30ms);
            on = this_thread_number();
            dead = true;
        }
        bool& dead;
        std::int64_t& on;
    };
    struct coroutines {
        static task<> holds(bool& dead, std::int64_t& on) {
            const slow_to_die object(dead, on);
            co_await yield();
        }
    };
    bool dead = false;
    std::int64_t on = 0;
    auto future = submit_async_task(coroutines::holds(dead, on));
    future.wait();
    CHECK(dead);
    CHECK(on == submit_async_task(thread_of_task()).get());
}

TEST_CASE("tasks begin in the order in which one thread submitted them") {
    std::vector<int> order;
    std::vector<task_future<void>> futures;
    for (int i = 0; i < 1'000; ++i) {
        futures.push_back(submit_async_task([&order, i]() -> task<> {
            order.push_back(i);
            co_return;
        }));
    }
    for (auto& future : futures) {
        future.get();
    }
    std::vector<int> expected;
    for (int i = 0; i < 1'000; ++i) {
        expected.push_back(i);
    }
    CHECK(order == expected);
}

TEST_CASE("many threads submit many tasks and each result is there once") {
    std::vector<std::int64_t> sums(4, 0);
    std::vector<std::thread> submitters;
    for (auto& sum : sums) {
        submitters.emplace_back([&sum] {
            std::vector<task_future<int>> futures;
            for (int i = 1; i <= 2'000; ++i) {
                futures.push_back(submit_async_task(gives(i)));
            }
            for (auto& future : futures) {
                sum += future.get();
            }
        });
    }
    for (auto& submitter : submitters) {
        submitter.join();
    }
    CHECK(sums == std::vector<std::int64_t>(4, 2'001'000));
}

TEST_CASE("a task_future can be moved") {
    foreign_event event;
    auto first = submit_async_task(gives_at(event, 7));
    task_future<int> second = std::move(first);
    CHECK_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that is what is tested
    task_future<int> third;
    CHECK_FALSE(third.valid());
    third = std::move(second);
    auto& same = third;
    third = std::move(same);
    first.cancel();
    second.cancel();
    event.set();
    CHECK(third.get() == 7);
}

TEST_CASE("an rvalue of a task_future converts to a std::future, which can be shared") {
    std::future<int> plain = submit_async_task(gives(8));
    CHECK(plain.get() == 8);
    const auto original = std::make_exception_ptr(bespoke_error(2));
    std::future<void> failed = submit_async_task(fails_with(original));
    CHECK(thrown_by([&] { return (failed.get(), 0); }) == original);
    const std::shared_future<int> shared = std::future<int>(submit_async_task(gives(9))).share();
    const std::shared_future<int> copy = shared;
    CHECK(shared.get() + copy.get() == 18);
}

TEST_CASE("a future outlives its worker") {
    task_future<int> value, cancelled;
    const lifetimes log;
    {
        worker w({.shutdown_grace = support::patience});
        value = w.submit(gives(3));
        value.wait();
        const gate begun;
        cancelled = w.submit(waits(begun, counted(log)));
        begun.wait();
    }
    value.cancel();
    cancelled.cancel();
    CHECK(value.get() == 3);
    CHECK_THROWS_AS(cancelled.get(), operation_cancelled);
    const auto dropped = std::move(cancelled);
}

// Cancelled

TEST_CASE("cancel makes the task end with operation_cancelled, however often and from wherever it is called") {
    const lifetimes log;
    SECTION("once") {
        const gate begun;
        auto future = submit_async_task(waits(begun, counted(log)));
        begun.wait();
        future.cancel();
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
    SECTION("by many threads, many times") {
        for (int round = 0; round < 20; ++round) {
            const gate begun;
            auto future = submit_async_task(waits(begun, counted(log)));
            std::vector<std::thread> threads;
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&] {
                    for (int n = 0; n < 50; ++n) {
                        future.cancel();
                    }
                });
            }
            for (auto& thread : threads) {
                thread.join();
            }
            CHECK_THROWS_AS(future.get(), operation_cancelled);
        }
    }
    SECTION("by another task of the same worker") {
        const gate begun;
        auto future = submit_async_task(waits(begun, counted(log)));
        sincpro::run_async_task([&]() -> task<> {
            future.cancel();
            co_await yield();
        });
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
    SECTION("by a task of another worker") {
        const gate begun;
        auto future = submit_async_task(waits(begun, counted(log)));
        worker other;
        other.run([&]() -> task<> {
            future.cancel();
            co_return;
        });
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
    SECTION("before it has begun") {
        const gate blocks_begun, end, begun;
        const opens_at_exit guard(end);
        auto blocker = submit_async_task(blocks(blocks_begun, end));
        blocks_begun.wait();
        auto future = submit_async_task(waits(begun, counted(log)));
        future.cancel();
        future.cancel();
        end.open();
        CHECK_THROWS_AS(future.get(), operation_cancelled);
        CHECK(blocker.get() == 1);
    }
    SECTION("from a const future") {
        const gate begun;
        auto future = submit_async_task(waits(begun, counted(log)));
        const auto& constant = future;
        constant.cancel();
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("a task may cancel itself") {
    task_future<void> self;
    const gate assigned;
    std::atomic<bool> went_on = false;
    self = submit_async_task([&]() -> task<> {
        assigned.wait();
        self.cancel();
        co_await yield();
        co_await sleep_for(1h);
        went_on = true;
    });
    assigned.open();
    CHECK_THROWS_AS(self.get(), operation_cancelled);
    CHECK_FALSE(went_on);
}

TEST_CASE("cancel has no effect once the task has ended, nor on an empty future") {
    auto future = submit_async_task(gives(5));
    future.wait();
    future.cancel();
    future.cancel();
    CHECK(future.get() == 5);
    future.cancel();

    const auto original = std::make_exception_ptr(bespoke_error(3));
    auto failed = submit_async_task(fails_with(original));
    failed.wait();
    failed.cancel();
    CHECK(thrown_by([&] { return (failed.get(), 0); }) == original);

    const task_future<int> empty;
    empty.cancel();
    CHECK(sincpro::run_async_task(gives(6)) == 6);
}

TEST_CASE("cancel cancels its own task only") {
    foreign_event event;
    const lifetimes log;
    const gate begun;
    auto stays = submit_async_task(gives_at(event, 3));
    auto goes = submit_async_task(waits(begun, counted(log)));
    goes.cancel();
    CHECK_THROWS_AS(goes.get(), operation_cancelled);
    event.set();
    CHECK(stays.get() == 3);
}

TEST_CASE("a task that swallows the cancellation ends as it wants to") {
    struct coroutines {
        static task<std::string> swallows(gate begun) {
            begun.open();
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            co_return "my own way";
        }
    };
    const gate begun;
    auto future = submit_async_task(coroutines::swallows(begun));
    begun.wait();
    future.cancel();
    CHECK(future.get() == "my own way");
}

TEST_CASE("a cancel that races with the end gives the result or operation_cancelled") {
    int values = 0;
    int cancellations = 0;
    for (int round = 0; round < 500; ++round) {
        auto future = submit_async_task(gives(round));
        std::thread canceller;
        if (round % 4 == 0) {
            canceller = std::thread([&] { future.cancel(); });
        } else {
            for (int i = 0; i < round; ++i) {
                std::atomic_signal_fence(std::memory_order_seq_cst);
            }
            future.cancel();
        }
        try {
            // Not by get(), which another thread's cancel() must not race with.
            future.wait();
            if (canceller.joinable()) {
                canceller.join();
            }
            const int value = future.get();
            REQUIRE(value == round);
            ++values;
        } catch (const operation_cancelled&) {
            ++cancellations;
        }
    }
    CHECK(values + cancellations == 500);
}

// Dropped

TEST_CASE("a dropped task goes on") {
    foreign_event event;
    const gate ended;
    {
        const auto future = submit_async_task([&]() -> task<> {
            co_await event;
            ended.open();
        });
    }
    CHECK_FALSE(ended.is_open());
    event.set();
    CHECK(ended.wait_for(support::patience));
}

TEST_CASE("a dropped task that fails gives its exception to on_unobserved_exception on the worker thread") {
    watched_worker w;
    const auto thread = w->run(thread_of_task());
    const auto original = std::make_exception_ptr(bespoke_error(4));
    SECTION("dropped before it fails") {
        foreign_event event;
        { const auto future = w->submit(fails_at(event, original)); }
        pass_through(*w);
        CHECK(w.reports().empty());
        event.set();
        w.wait_for_reports(1);
    }
    SECTION("dropped after it has failed") {
        {
            const auto future = w->submit(fails_with(original));
            while (future.wait_for(0s) != std::future_status::ready) {
                std::this_thread::yield();
            }
            pass_through(*w);
            CHECK(w.reports().empty());
        }
        w.wait_for_reports(1);
    }
    SECTION("by an assignment") {
        auto future = w->submit(fails_with(original));
        future = w->submit(fails_with(std::make_exception_ptr(bespoke_error(5))));
        w.wait_for_reports(1);
        CHECK(thrown<bespoke_error>([&] { return (future.get(), 0); }).code == 5);
    }
    SECTION("by a task of the worker itself") {
        auto future = w->submit(fails_with(original));
        w->run([&]() -> task<> {
            const auto dropped = std::move(future);
            co_await yield();
        });
        w.wait_for_reports(1);
    }
    pass_through(*w);
    REQUIRE(w.reports().size() == 1);
    CHECK(w.reports()[0].error == original);
    CHECK(w.reports()[0].thread == thread);
}

TEST_CASE("drop and failure at the same time: the exception is reported once") {
    watched_worker w;
    const auto thread = w->run(thread_of_task());
    constexpr std::size_t rounds = 1'000;
    for (std::size_t round = 0; round < rounds; ++round) {
        const auto dropped = w->submit(fails_with(std::make_exception_ptr(bespoke_error(static_cast<int>(round)))));
        for (std::size_t i = 0; i < round; ++i) {
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }
    }
    w.wait_for_reports(rounds);
    pass_through(*w);
    const auto reports = w.reports();
    REQUIRE(reports.size() == rounds);
    std::vector<int> seen(rounds, 0);
    for (const auto& report : reports) {
        CHECK(report.thread == thread);
        ++seen[static_cast<std::size_t>(thrown<bespoke_error>([&] {
                                            std::rethrow_exception(report.error);
                                            return 0;
                                        }).code)];
    }
    CHECK(seen == std::vector<int>(rounds, 1));
}

TEST_CASE("on_unobserved_exception is not called for what was read, moved on, or did not fail") {
    watched_worker w;
    const auto original = std::make_exception_ptr(bespoke_error(6));
    {
        auto read = w->submit(fails_with(original));
        CHECK(thrown_by([&] { return (read.get(), 0); }) == original);
    }
    CHECK(thrown_by([&] { return (w->run(fails_with(original)), 0); }) == original);
    { const auto value = w->submit(gives(1)); }
    std::optional<task_future<void>> kept;
    {
        auto moved = w->submit(fails_with(original));
        moved.wait();
        kept = std::move(moved);
    }
    pass_through(*w);
    CHECK(w.reports().empty());
    CHECK(thrown_by([&] { return (kept->get(), 0); }) == original);
    kept.reset();
    pass_through(*w);
    CHECK(w.reports().empty());
}

TEST_CASE("what on_unobserved_exception throws is dropped") {
    const arrivals called;
    sincpro::worker_options options;
    options.on_unobserved_exception = [&](std::exception_ptr error) {
        called.arrive();
        std::rethrow_exception(error);
    };
    worker w(options);
    for (int i = 0; i < 3; ++i) {
        const auto dropped = w.submit(fails_with(std::make_exception_ptr(bespoke_error(i))));
    }
    called.wait(3);
    pass_through(w);
}

TEST_CASE("a dropped task that fails where nobody wants to know ends silently") {
    worker w;
    const lifetimes log;
    struct coroutines {
        static task<> fails([[maybe_unused]] counted object) {
            co_await yield();
            throw bespoke_error(1);
        }
    };
    for (int i = 0; i < 10; ++i) {
        const auto dropped = w.submit(coroutines::fails(counted(log)));
    }
    CHECK(log.wait_until_gone());
    pass_through(w);
}

TEST_CASE("dropped tasks that are cancelled by shutdown have unwound when it returns") {
    const lifetimes log;
    worker w({.shutdown_grace = support::patience});
    for (int i = 0; i < 10; ++i) {
        const gate begun;
        const auto dropped = w.submit(waits(begun, counted(log)));
    }
    w.shutdown();
    CHECK(log.alive() == 0);
}

// On a worker's thread

TEST_CASE("submit is fine on a worker's thread, its own and another's") {
    worker other;
    const auto other_thread = other.run(thread_of_task());
    task_future<std::int64_t> own, others;
    sincpro::run_async_task([&]() -> task<> {
        own = submit_async_task(thread_of_task());
        others = other.submit(thread_of_task());
        co_await yield();
    });
    CHECK(own.get() == sincpro::run_async_task(thread_of_task()));
    CHECK(others.get() == other_thread);
}

TEST_CASE("a task that was submitted by a task goes on after that one has ended") {
    foreign_event event;
    auto inner =
        sincpro::run_async_task([&]() -> task<task_future<int>> { co_return submit_async_task(gives_at(event, 5)); });
    event.set();
    CHECK(inner.get() == 5);
}

TEST_CASE("get and wait on a worker's thread are an error unless the future is ready") {
    worker w, other;
    foreign_event event;
    auto future = w.submit(gives_at(event, 5));
    const auto asks = [&]() -> task<std::vector<std::error_code>> {
        std::vector<std::error_code> codes;
        std::string texts;
        for (int way = 0; way < 2; ++way) {
            try {
                way == 0 ? static_cast<void>(future.get()) : future.wait();
                codes.emplace_back();
            } catch (const std::system_error& error) {
                codes.push_back(error.code());
                texts += error.what();
            }
        }
        if (!codes[0] || texts.find("co_await") == std::string::npos) {
            throw std::logic_error("the text does not say what to do: " + texts);
        }
        co_return codes;
    };
    const auto deadlock = std::make_error_code(std::errc::resource_deadlock_would_occur);
    const std::vector<std::error_code> both{deadlock, deadlock};
    CHECK(w.run(asks) == both);
    CHECK(other.run(asks) == both);
    CHECK(future.valid());
    event.set();
    future.wait();
    CHECK(w.run([&]() -> task<int> {
        future.wait();
        co_return future.get();
    }) == 5);
}

TEST_CASE("who only looks may ask a future on a worker's thread too") {
    sincpro::run_async_task([]() -> task<> {
        auto future = submit_async_task(sincpro::sleep_for(2ms));
        CHECK(future.wait_for(-1h) == std::future_status::timeout);
        CHECK(future.wait_until(std::chrono::system_clock::now() - 1s) == std::future_status::timeout);
        while (future.wait_for(0s) != std::future_status::ready) {
            co_await sincpro::yield();
        }
        future.get();
    });
}

// Shutdown

TEST_CASE("a shutdown ends every future") {
    const lifetimes log;
    worker w({.shutdown_grace = support::patience});
    const gate begun;
    auto ended = w.submit(gives(1));
    auto suspended = w.submit(waits(begun, counted(log)));
    begun.wait();
    std::vector<task_future<int>> just_submitted;
    for (int i = 0; i < 100; ++i) {
        just_submitted.push_back(w.submit(gives(i)));
    }
    w.shutdown();
    CHECK(ended.get() == 1);
    CHECK_THROWS_AS(suspended.get(), operation_cancelled);
    for (int i = 0; i < 100; ++i) {
        auto& future = just_submitted[static_cast<std::size_t>(i)];
        REQUIRE(future.wait_for(0s) == std::future_status::ready);
        try {
            const int value = future.get();
            CHECK(value == i);
        } catch (const operation_cancelled&) {
        }
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("a failed future that is dropped after its worker has ended reports where it is dropped") {
    std::vector<std::exception_ptr> reports;
    sincpro::worker_options options;
    options.on_unobserved_exception = [&](std::exception_ptr error) { reports.push_back(error); };
    const auto original = std::make_exception_ptr(bespoke_error(7));
    {
        task_future<void> future;
        {
            worker w(options);
            future = w.submit(fails_with(original));
            future.wait();
        }
        CHECK(reports.empty());
    }
    REQUIRE(reports.size() == 1);
    CHECK(reports[0] == original);
}
