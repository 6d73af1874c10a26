#include <sincpro/async_worker/semaphore.hpp>

#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/owned_coroutine.hpp"
#include "support/scale.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::semaphore;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::worker;
using sincpro::yield;
using support::a_hundred_thousand;
using support::a_million;
using support::gate;
using support::owned_coroutine;

static_assert(!std::is_copy_constructible_v<semaphore::permit>);
static_assert(std::is_nothrow_move_constructible_v<semaphore::permit>);
static_assert(!std::is_copy_constructible_v<semaphore>);

/// Shows that `n` permits, and not one more, can be had.
task<bool> has_exactly(semaphore& s, std::size_t n) {
    std::vector<semaphore::permit> permits;
    for (std::size_t i = 0; i < n; ++i) {
        permits.push_back(co_await s.acquire());
    }
    bool one_more = true;
    try {
        const auto unexpected = co_await sincpro::with_timeout(s.acquire(), 1ms);
    } catch (const sincpro::timeout_error&) {
        one_more = false;
    }
    co_return !one_more;
}

}  // namespace

TEST_CASE("as many permits as were given can be had, and not one more") {
    for (const std::size_t n : {0U, 1U, 2U, 100U}) {
        semaphore s(n);
        CHECK(run_async_task(has_exactly(s, n)));
        CHECK(run_async_task(has_exactly(s, n)));
    }
}

TEST_CASE("never more tasks than permits are inside, and all get in") {
    semaphore s(8);
    int inside = 0;
    int most = 0;
    const auto enter = [&]() -> task<> {
        const auto permit = co_await s.acquire();
        most = std::max(most, ++inside);
        for (int i = 0; i < 5; ++i) {
            co_await yield();
        }
        --inside;
    };
    std::vector<task<>> all;
    for (int i = 0; i < 1'000; ++i) {
        all.push_back(enter());
    }
    run_async_task(sincpro::when_all(std::move(all)));
    CHECK(most == 8);
    CHECK(run_async_task(has_exactly(s, 8)));
}

TEST_CASE("a permit is released when it is destroyed or assigned over, once, wherever it was moved to") {
    semaphore s(2);
    const bool right = run_async_task([&]() -> task<bool> {
        bool all_right = true;
        {
            auto first = co_await s.acquire();
            auto moved = std::move(first);
            all_right = all_right && co_await has_exactly(s, 1);
        }
        all_right = all_right && co_await has_exactly(s, 2);
        {
            auto first = co_await s.acquire();
            auto second = co_await s.acquire();
            all_right = all_right && co_await has_exactly(s, 0);
            first = std::move(second);
            all_right = all_right && co_await has_exactly(s, 1);
            second.release();  // it holds none
            all_right = all_right && co_await has_exactly(s, 1);
            auto& same = first;
            first = std::move(same);
            all_right = all_right && co_await has_exactly(s, 1);
        }
        all_right = all_right && co_await has_exactly(s, 2);
        co_return all_right;
    });
    CHECK(right);
}

TEST_CASE("a permit is released by an exception") {
    semaphore s(1);
    const auto fails = [&]() -> task<> {
        const auto permit = co_await s.acquire();
        co_await yield();
        throw std::runtime_error("inside");
    };
    CHECK_THROWS_WITH(run_async_task(fails()), "inside");
    CHECK(run_async_task(has_exactly(s, 1)));
}

TEST_CASE("acquire may be given to the bridge, and the permit released on the calling thread") {
    semaphore s(1);
    auto held = std::make_unique<semaphore::permit>(run_async_task(s.acquire()));
    const gate begun;
    auto waiter = submit_async_task([&]() -> task<int> {
        begun.open();
        const auto permit = co_await s.acquire();
        co_return 5;
    });
    begun.wait();
    run_async_task(yield());
    CHECK(waiter.wait_for(0s) == std::future_status::timeout);
    held.reset();
    CHECK(waiter.get() == 5);
    CHECK(run_async_task(has_exactly(s, 1)));
}

TEST_CASE("a cancelled waiter holds no permit and leaves the queue to the others") {
    semaphore s(1);
    auto held = std::make_unique<semaphore::permit>(run_async_task(s.acquire()));
    std::vector<sincpro::task_future<int>> waiters;
    for (int i = 0; i < 10; ++i) {
        waiters.push_back(submit_async_task([&s, i]() -> task<int> {
            const auto permit = co_await s.acquire();
            co_return i;
        }));
    }
    run_async_task(yield());
    for (std::size_t i = 0; i < 10; i += 2) {
        waiters[i].cancel();
        CHECK_THROWS_AS(waiters[i].get(), operation_cancelled);
    }
    held.reset();
    for (std::size_t i = 1; i < 10; i += 2) {
        CHECK(waiters[i].get() == static_cast<int>(i));
    }
    CHECK(run_async_task(has_exactly(s, 1)));
}

TEST_CASE("a task that is cancelled already gets no permit, even if one is free") {
    semaphore s(1);
    bool acquired = false;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        const auto permit = co_await s.acquire();
        acquired = true;
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK_FALSE(acquired);
    CHECK(run_async_task(has_exactly(s, 1)));
}

TEST_CASE("a permit that was granted when the cancellation came is kept or given back, never lost") {
    semaphore s(1);
    // Each round, and the check at the end, would wait for ever for a permit that the round before has lost.
    for (int i = 0; i < 1'000; ++i) {
        auto held = std::make_unique<semaphore::permit>(run_async_task(s.acquire()));
        auto waiter = submit_async_task([&]() -> task<> {
            const auto permit = co_await s.acquire();
            co_await yield();
        });
        if (i % 2 == 0) {
            run_async_task([&]() -> task<> {
                held.reset();
                waiter.cancel();
                co_return;
            });
        } else {
            held.reset();
            waiter.cancel();
        }
        try {
            waiter.get();
        } catch (const operation_cancelled&) {
        }
    }
    CHECK(run_async_task(has_exactly(s, 1)));
}

TEST_CASE("another library's coroutine that is destroyed while it waits leaves the queue to the others") {
    struct coroutines {
        static owned_coroutine wait(semaphore& s, bool& went_on) {
            const auto permit = co_await s.acquire();
            went_on = true;
        }
        static task<bool> destroy_in_the_middle(semaphore& s, bool& went_on) {
            auto only = co_await s.acquire();
            auto first = std::make_unique<owned_coroutine>(wait(s, went_on));
            auto second = std::make_unique<owned_coroutine>(wait(s, went_on));
            auto third = std::make_unique<owned_coroutine>(wait(s, went_on));
            second.reset();
            first.reset();
            third.reset();
            only.release();
            co_return co_await has_exactly(s, 1);
        }
    };
    semaphore s(1);
    bool went_on = false;
    CHECK(run_async_task(coroutines::destroy_in_the_middle(s, went_on)));
    CHECK_FALSE(went_on);
}

TEST_CASE("permits pass between workers and threads, and none is lost") {
    constexpr int limit = 3;
    constexpr int tasks_each = 300;
    semaphore s(limit);
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    const auto enter = [&]() -> task<> {
        const auto permit = co_await s.acquire();
        const int now = inside.fetch_add(1) + 1;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        co_await yield();
        inside.fetch_sub(1);
    };
    const auto run_many = [&](worker& on) {
        std::vector<task<>> all;
        for (int i = 0; i < tasks_each; ++i) {
            all.push_back(enter());
        }
        on.run(sincpro::when_all(std::move(all)));
    };
    worker first;
    worker second;
    std::thread on_first([&] { run_many(first); });
    std::thread on_second([&] { run_many(second); });
    std::thread by_hand([&] {
        for (int i = 0; i < tasks_each; ++i) {
            const auto permit = run_async_task(s.acquire());
        }
    });
    on_first.join();
    on_second.join();
    by_hand.join();
    CHECK(most.load() <= limit);
    CHECK(run_async_task(has_exactly(s, limit)));
}

TEST_CASE("cancellations, timeouts and releases from several threads lose no permit") {
    constexpr std::size_t limit = 2;
    semaphore s(limit);
    std::atomic<bool> exceeded{false};
    std::atomic<int> inside{0};
    const auto enter = [&]() -> task<> {
        const auto permit = co_await sincpro::with_timeout(s.acquire(), 50us);
        if (inside.fetch_add(1) >= static_cast<int>(limit)) {
            exceeded = true;
        }
        co_await sincpro::shield(yield());
        inside.fetch_sub(1);
    };
    worker first;
    worker second;
    const auto harass = [&](worker& on) {
        for (int i = 0; i < 300; ++i) {
            std::vector<sincpro::task_future<void>> futures;
            for (int j = 0; j < 6; ++j) {
                futures.push_back(on.submit(enter()));
            }
            futures[static_cast<std::size_t>(i % 6)].cancel();
            for (auto& future : futures) {
                try {
                    future.get();
                } catch (const operation_cancelled&) {
                } catch (const sincpro::timeout_error&) {
                }
            }
        }
    };
    std::thread one([&] { harass(first); });
    std::thread two([&] { harass(second); });
    one.join();
    two.join();
    CHECK_FALSE(exceeded);
    CHECK(run_async_task(has_exactly(s, limit)));
}

TEST_CASE("100,000 tasks may wait for one permit") {
    semaphore s(1);
    long entered = 0;
    const auto enter = [&]() -> task<> {
        const auto permit = co_await s.acquire();
        ++entered;
    };
    std::vector<task<>> all;
    auto first = run_async_task(s.acquire());
    for (int i = 0; i < a_hundred_thousand; ++i) {
        all.push_back(enter());
    }
    auto done = submit_async_task(sincpro::when_all(std::move(all)));
    run_async_task(yield());
    { const auto released = std::move(first); }
    done.get();
    CHECK(entered == a_hundred_thousand);
}

TEST_CASE("1,000,000 acquisitions of a free permit need no stack") {
    semaphore s(1);
    const auto count = [&]() -> task<int> {
        int acquired = 0;
        for (int i = 0; i < a_million; ++i) {
            const auto permit = co_await s.acquire();
            ++acquired;
        }
        co_return acquired;
    };
    CHECK(run_async_task(count()) == a_million);
}
