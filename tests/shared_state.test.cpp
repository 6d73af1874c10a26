#include <sincpro/async_worker/detail/bridge/shared_state.hpp>

#include <sincpro/async_worker/detail/bridge/worker_thread.hpp>
#include <sincpro/async_worker/task.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"

namespace {

using sincpro::task;
using sincpro::detail::claim;
using sincpro::detail::handshake;
using sincpro::detail::intrusive_ptr;
using sincpro::detail::shared_state;
using sincpro::detail::submitted_task;

task<int> give(int n) { co_return n; }

/// A call that was not handed over yet.
intrusive_ptr<submitted_task<int>> new_call() {
    return intrusive_ptr<submitted_task<int>>(new submitted_task<int>(give(1)));
}

}  // namespace

TEST_CASE("the first claim counts, whoever makes it") {
    const auto call = new_call();
    CHECK(call->claimed_by() == claim::open);
    CHECK(call->take_claim(claim::open, claim::deadline));
    CHECK(call->claimed_by() == claim::deadline);
    for (const claim late : {claim::value, claim::error, claim::deadline, claim::shutdown, claim::abandoned}) {
        CHECK_FALSE(call->take_claim(claim::open, late));
    }
    CHECK(call->claimed_by() == claim::deadline);
}

TEST_CASE("the outcome may be claimed after the deadline, once, but not when nobody waits for it any more") {
    const auto call = new_call();
    CHECK(call->take_claim(claim::open, claim::deadline));
    CHECK(call->claim_outcome(claim::value));
    CHECK_FALSE(call->claim_outcome(claim::shutdown));
    CHECK(call->claimed_by() == claim::value);

    const auto abandoned = new_call();
    CHECK(abandoned->take_claim(claim::open, claim::deadline));
    CHECK(abandoned->take_claim(claim::deadline, claim::abandoned));
    CHECK_FALSE(abandoned->claim_outcome(claim::error));
    CHECK(abandoned->claimed_by() == claim::abandoned);
}

TEST_CASE("of result, deadline and shutdown at the same time exactly one is first") {
    constexpr int rounds = 500;
    constexpr std::array claims{claim::value, claim::deadline, claim::shutdown};
    std::vector<intrusive_ptr<submitted_task<int>>> calls;
    for (int i = 0; i < rounds; ++i) {
        calls.push_back(new_call());
    }
    std::array<std::vector<bool>, claims.size()> won;
    const support::gate go;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < claims.size(); ++t) {
        threads.emplace_back([&, t] {
            go.wait();
            for (const auto& call : calls) {
                won[t].push_back(call->take_claim(claim::open, claims[t]));
            }
        });
    }
    go.open();
    for (std::thread& t : threads) {
        t.join();
    }
    int wrong = 0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        int winners = 0;
        for (std::size_t t = 0; t < claims.size(); ++t) {
            winners += won[t][i];
            wrong += won[t][i] && calls[i]->claimed_by() != claims[t];
        }
        wrong += winners != 1;
    }
    CHECK(wrong == 0);
}

TEST_CASE("a call that ends by a shutdown is published with worker_stopped, once") {
    const auto call = new_call();
    std::future<int> future = call->get_future();
    CHECK_FALSE(call->is_published());
    call->end_by_shutdown();
    call->end_by_shutdown();
    CHECK(call->is_published());
    call->wait_until_published();
    CHECK_THROWS_AS(future.get(), sincpro::worker_stopped);
}

TEST_CASE("who waits until a call is published is woken, also after it has stopped yielding") {
    for (int round = 0; round < 20; ++round) {
        const auto call = new_call();
        std::future<int> future = call->get_future();
        const support::gate begun;
        std::thread waiting([&] {
            begun.open();
            call->wait_until_published();
            CHECK(call->is_published());
        });
        begun.wait();
        if (round % 2 == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));  // mostly it sleeps by now; either way is right
        }
        call->end_by_shutdown();
        waiting.join();
    }
}

TEST_CASE("of two parties of a handshake the second is told so") {
    std::atomic<bool> passed{false};
    CHECK_FALSE(handshake(passed));
    CHECK(handshake(passed));
}
