#include <sincpro/async_worker/call_state.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/hand_executor.hpp"

namespace {

using sincpro::detail::call_state;
using sincpro::detail::claim;
using sincpro::detail::counted_ptr;
using sincpro::detail::executor;
using sincpro::detail::job;
using support::hand_executor;

/// Counts its references without owning itself.
struct counting {
    void hold() noexcept { references.fetch_add(1); }
    void drop() noexcept { references.fetch_sub(1); }
    std::atomic<int> references{0};
};
using pointer = counted_ptr<counting>;

/// A reference that is there to be taken over.
pointer share(counting& c) {
    c.hold();
    return pointer(&c);
}

static_assert(!std::is_convertible_v<counting*, pointer>);
static_assert(!std::is_convertible_v<pointer, bool>);
static_assert(std::is_nothrow_move_constructible_v<pointer> && std::is_nothrow_copy_constructible_v<pointer>);

struct root_job final : job {
    explicit root_job(executor& e) : job(&e) {}
    void finished() noexcept override {}
};

/// A call on `e`. It lives as long as somebody has a reference, and has one to `e` so long.
counted_ptr<call_state> call_on(executor& e) {
    counted_ptr<call_state> call(new call_state);
    e.hold();
    call->loop = counted_ptr<executor>(&e);
    return call;
}

}  // namespace

TEST_CASE("a counted_ptr takes over the reference that it is made from, and drops it") {
    counting c;
    {
        const pointer p = share(c);
        CHECK(c.references == 1);
        CHECK(p);
        CHECK(p.get() == &c);
        CHECK(&*p == &c);
        CHECK(&p->references == &c.references);
    }
    CHECK(c.references == 0);
    const pointer empty;
    CHECK_FALSE(empty);
    CHECK(empty.get() == nullptr);
}

TEST_CASE("copies of a counted_ptr have a reference each, moves pass theirs on") {
    counting c;
    {
        pointer first = share(c);
        pointer second = first;
        CHECK(c.references == 2);
        pointer third = std::move(first);
        CHECK(c.references == 2);
        CHECK_FALSE(first);
        CHECK(third.get() == &c);
        const pointer of_nothing = first;
        CHECK_FALSE(of_nothing);
        CHECK(c.references == 2);
    }
    CHECK(c.references == 0);
}

TEST_CASE("assigning to a counted_ptr drops what it had, once") {
    counting a, b;
    {
        pointer p = share(a);
        p = share(b);
        CHECK(a.references == 0);
        CHECK(b.references == 1);
        const pointer q = p;
        p = q;
        CHECK(b.references == 2);
        auto& itself = p;
        p = itself;
        CHECK(b.references == 2);
        p = std::move(itself);
        CHECK(p.get() == &b);
        CHECK(b.references == 2);
        p = {};
        CHECK_FALSE(p);
        CHECK(b.references == 1);
    }
    CHECK(b.references == 0);
}

TEST_CASE("a released reference is the caller's") {
    counting c;
    {
        pointer p = share(c);
        CHECK(p.release() == &c);
        CHECK_FALSE(p);
        CHECK(p.release() == nullptr);
    }
    CHECK(c.references == 1);
}

TEST_CASE("a call ends with its last reference, on whichever thread that is dropped") {
    hand_executor loop;
    {
        const auto call = call_on(loop);
        CHECK(loop.references == 1);
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&call] {
                for (int round = 0; round < 1'000; ++round) {
                    const auto mine = call;
                    const auto again = mine;
                }
            });
        }
        for (std::thread& t : threads) {
            t.join();
        }
        CHECK(loop.references == 1);
    }
    CHECK(loop.references == 0);

    for (int round = 0; round < 100; ++round) {
        auto call = call_on(loop);
        auto copy = call;
        std::thread other([mine = std::move(copy)]() mutable { mine = {}; });
        call = {};
        other.join();
        REQUIRE(loop.references == 0);
    }
}

TEST_CASE("the first claim counts, whoever makes it") {
    hand_executor loop;
    const auto call = call_on(loop);
    CHECK(call->claimed_by == claim::open);
    CHECK(call->try_claim(claim::deadline));
    CHECK(call->claimed_by == claim::deadline);
    CHECK_FALSE(call->try_claim(claim::result));
    CHECK_FALSE(call->try_claim(claim::deadline));
    CHECK_FALSE(call->try_claim(claim::shutdown));
    CHECK(call->claimed_by == claim::deadline);
}

TEST_CASE("of result, deadline and shutdown at the same time exactly one is first") {
    hand_executor loop;
    constexpr int rounds = 500;
    constexpr std::array claims{claim::result, claim::deadline, claim::shutdown};
    std::vector<counted_ptr<call_state>> calls;
    for (int i = 0; i < rounds; ++i) {
        calls.push_back(call_on(loop));
    }
    std::array<std::vector<bool>, claims.size()> won;
    const support::gate go;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < claims.size(); ++t) {
        threads.emplace_back([&, t] {
            go.wait();
            for (const auto& call : calls) {
                won[t].push_back(call->try_claim(claims[t]));
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
            wrong += won[t][i] && calls[i]->claimed_by != claims[t];
        }
        wrong += winners != 1;
    }
    CHECK(wrong == 0);
}

TEST_CASE("a request to cancel reaches the task on its own thread, once, however often it is made") {
    hand_executor loop;
    root_job root(loop);
    auto call = call_on(loop);
    call->root = &root;
    call->request_cancel();
    call->request_cancel();
    CHECK(loop.posted() == 1);
    CHECK(call->cancel_requested);
    CHECK_FALSE(root.cancelled);
    SECTION("while the call is kept") {
        loop.run();
        CHECK(root.cancelled);
        call->request_cancel();
        CHECK(loop.posted() == 0);
    }
    SECTION("though the caller has let go of it") {
        call = {};
        CHECK(loop.references == 1);
        loop.run();
        CHECK(root.cancelled);
        CHECK(loop.references == 0);
    }
    SECTION("unless the task has ended meanwhile") {
        call->root = nullptr;
        loop.run();
        CHECK_FALSE(root.cancelled);
    }
    loop.run();
    call = {};
    CHECK(loop.references == 0);
}

TEST_CASE("a request to cancel after the loop has ended does nothing, and keeps nothing alive") {
    hand_executor loop;
    loop.end();
    {
        const auto call = call_on(loop);
        call->request_cancel();
        call->request_cancel();
        CHECK(loop.posted() == 0);
    }
    CHECK(loop.references == 0);
}
