#include <sincpro/async_worker/detail/loop/mpsc_queue.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"

namespace {

using sincpro::detail::mpsc_queue;
using sincpro::detail::work;
using support::arrivals;

/// Work that nobody runs. What it carries is written before the push and read after the take.
struct parcel : work {
    parcel() : work([](work&) noexcept {}) {}
    std::size_t from = 0;
    std::uint64_t number = 0;
};

using parcels_taken = std::vector<parcel*>;

/// By the consumer.
parcels_taken take(mpsc_queue& queue) {
    parcels_taken all;
    queue.take(static_cast<std::size_t>(-1), [&](work& w) { all.push_back(&static_cast<parcel&>(w)); });
    return all;
}
/// By anybody.
parcels_taken take_on_any_thread(mpsc_queue& queue) {
    parcels_taken all;
    const auto add = [&](work& w) { all.push_back(&static_cast<parcel&>(w)); };
    queue.visit_all(add, add);
    return all;
}

std::vector<std::uint64_t> numbers(const parcels_taken& taken) {
    std::vector<std::uint64_t> found;
    for (const parcel* p : taken) {
        found.push_back(p->number);
    }
    return found;
}

/// parcels<N>(): N of them, numbered from 1.
template <std::size_t N>
std::array<parcel, N> parcels() {
    std::array<parcel, N> made;
    for (std::size_t i = 0; i < N; ++i) {
        made[i].number = i + 1;
    }
    return made;
}

using expected = std::vector<std::uint64_t>;

/// Several threads that push all their parcels in order, and know what they were told.
class pushers {
public:
    static constexpr std::size_t threads = 4;
    static constexpr std::size_t each = 2'000;

    template <class Push>
    explicit pushers(Push push) : parcels_(threads) {
        for (std::size_t t = 0; t < threads; ++t) {
            parcels_[t] = std::vector<parcel>(each);
            threads_.emplace_back([this, t, push] {
                go_.wait();
                for (std::size_t i = 0; i < each; ++i) {
                    parcel& p = parcels_[t][i];
                    p.from = t;
                    p.number = i + 1;
                    push(p);
                }
            });
        }
    }
    pushers(const pushers&) = delete;
    pushers& operator=(const pushers&) = delete;
    ~pushers() { join(); }

    void start() { go_.open(); }
    void join() {
        go_.open();
        for (std::thread& t : threads_) {
            if (t.joinable()) {
                t.join();
            }
        }
    }

private:
    support::gate go_;
    std::vector<std::vector<parcel>> parcels_;
    std::vector<std::thread> threads_;
};

/// What a consumer sees: how many came, and whether each pusher's came in its order.
struct received {
    void note(const parcels_taken& taken) {
        for (const parcel* p : taken) {
            out_of_order += p->number != last[p->from] + 1;
            last[p->from] = p->number;
            ++count;
        }
    }
    std::array<std::uint64_t, pushers::threads> last{};
    std::size_t count = 0;
    int out_of_order = 0;
};

}  // namespace

TEST_CASE("what was pushed is taken all at once, oldest first") {
    mpsc_queue queue;
    auto p = parcels<5>();
    CHECK(queue.empty());
    CHECK(take(queue).empty());
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(queue.push(p[i]) == mpsc_queue::push_result::queued);
    }
    CHECK_FALSE(queue.empty());
    CHECK(numbers(take(queue)) == expected{1, 2, 3});
    CHECK(queue.empty());
    CHECK(take(queue).empty());
    queue.push(p[4]);
    queue.push(p[3]);
    CHECK(numbers(take(queue)) == expected{5, 4});
}

TEST_CASE("what is taken is bounded, and what is left comes first the next time, before what was pushed since") {
    mpsc_queue queue;
    auto all = parcels<5>();
    for (std::size_t i = 0; i < 4; ++i) queue.push(all[i]);
    parcels_taken first;
    queue.take(2, [&](work& w) { first.push_back(&static_cast<parcel&>(w)); });
    CHECK(numbers(first) == expected{1, 2});
    CHECK_FALSE(queue.empty());
    CHECK_FALSE(queue.park());
    CHECK_FALSE(queue.close());
    queue.push(all[4]);
    CHECK(numbers(take(queue)) == expected{3, 4, 5});
    CHECK(queue.empty());
}

TEST_CASE("who visits everything on any thread finds also what the consumer has taken and not yet visited") {
    mpsc_queue queue;
    auto all = parcels<3>();
    queue.push(all[0]);
    queue.push(all[1]);
    queue.take(1, [](work&) {});
    queue.push(all[2]);
    parcels_taken visited, pushed;
    queue.visit_all([&](work& w) { visited.push_back(&static_cast<parcel&>(w)); },
                    [&](work& w) { pushed.push_back(&static_cast<parcel&>(w)); });
    CHECK(numbers(visited) == expected{2});
    CHECK(numbers(pushed) == expected{3});
    CHECK(numbers(take(queue)) == expected{2});
}

TEST_CASE("the first who pushes while the consumer is parked must wake it, and nobody else") {
    mpsc_queue queue;
    auto p = parcels<4>();
    REQUIRE(queue.park());
    CHECK(queue.empty());
    CHECK(queue.push(p[0]) == mpsc_queue::push_result::must_wake);
    CHECK(queue.push(p[1]) == mpsc_queue::push_result::queued);
    CHECK(queue.push(p[2]) == mpsc_queue::push_result::queued);
    queue.unpark();
    CHECK(numbers(take(queue)) == expected{1, 2, 3});
    CHECK(queue.push(p[3]) == mpsc_queue::push_result::queued);
}

TEST_CASE("a consumer does not park over what it has not taken") {
    mpsc_queue queue;
    auto p = parcels<1>();
    queue.push(p[0]);
    CHECK_FALSE(queue.park());
    CHECK(numbers(take(queue)) == expected{1});
    CHECK(queue.park());
}

TEST_CASE("after unpark nobody must wake the consumer") {
    mpsc_queue queue;
    auto p = parcels<2>();
    REQUIRE(queue.park());
    queue.unpark();
    CHECK(take(queue).empty());
    CHECK(queue.push(p[0]) == mpsc_queue::push_result::queued);
    queue.unpark();  // of one that is not parked
    CHECK(queue.push(p[1]) == mpsc_queue::push_result::queued);
    CHECK(numbers(take(queue)) == expected{1, 2});
}

TEST_CASE("a closed queue refuses, and does not touch what it refuses") {
    mpsc_queue queue;
    auto p = parcels<2>();
    queue.push(p[0]);
    CHECK_FALSE(queue.close());
    CHECK(numbers(take(queue)) == expected{1});
    REQUIRE(queue.close());
    CHECK(queue.empty());
    CHECK(queue.push(p[1]) == mpsc_queue::push_result::closed);
    CHECK(queue.push(p[1]) == mpsc_queue::push_result::closed);
    CHECK_FALSE(p[1].is_linked());
    CHECK(queue.empty());
}

TEST_CASE("any thread may take everything, oldest first") {
    mpsc_queue queue;
    auto p = parcels<3>();
    CHECK(take_on_any_thread(queue).empty());
    queue.push(p[0]);
    queue.push(p[1]);
    CHECK(numbers(take_on_any_thread(queue)) == expected{1, 2});
    CHECK(queue.empty());
    CHECK(take_on_any_thread(queue).empty());
    queue.push(p[2]);
    CHECK(numbers(take(queue)) == expected{3});
}

TEST_CASE("taking on any thread leaves the queue parked or closed as it is") {
    mpsc_queue queue;
    auto p = parcels<2>();
    SECTION("parked") {
        REQUIRE(queue.park());
        CHECK(take_on_any_thread(queue).empty());
        CHECK(queue.push(p[0]) == mpsc_queue::push_result::must_wake);
        // The pusher wakes the consumer, so whoever pushes next need not.
        CHECK(numbers(take_on_any_thread(queue)) == expected{1});
        CHECK(queue.push(p[1]) == mpsc_queue::push_result::queued);
    }
    SECTION("closed") {
        REQUIRE(queue.close());
        CHECK(take_on_any_thread(queue).empty());
        CHECK(queue.push(p[0]) == mpsc_queue::push_result::closed);
    }
}

TEST_CASE("everything that many threads push is taken once, in the order of each thread") {
    mpsc_queue queue;
    received got;
    pushers all([&](parcel& p) { queue.push(p); });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        const parcels_taken taken = take(queue);
        got.note(taken);
        if (taken.empty()) {
            std::this_thread::yield();
        }
    }
    CHECK(got.out_of_order == 0);
    all.join();
    CHECK(take(queue).empty());
}

TEST_CASE("a parked consumer is woken exactly once, by one of many who push at the same time") {
    mpsc_queue queue;
    arrivals wakes;
    received got;
    std::size_t parked = 0;
    pushers all([&](parcel& p) {
        if (queue.push(p) == mpsc_queue::push_result::must_wake) {
            wakes.arrive();
        }
    });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        got.note(take(queue));
        if (got.count < pushers::threads * pushers::each && queue.park()) {
            REQUIRE(wakes.wait_for(++parked));
            queue.unpark();
        }
    }
    all.join();
    CHECK(wakes.count() == parked);
    CHECK(got.out_of_order == 0);
}

TEST_CASE("a consumer that unparks by itself, as after a timer, is told to wake at most once for each time it parked") {
    mpsc_queue queue;
    std::atomic<std::size_t> wakes{0};
    received got;
    std::size_t parked = 0;
    std::size_t too_many = 0;
    pushers all([&](parcel& p) {
        if (queue.push(p) == mpsc_queue::push_result::must_wake) {
            wakes.fetch_add(1);
        }
    });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        got.note(take(queue));
        if (queue.park()) {
            ++parked;
            std::this_thread::yield();
            queue.unpark();
        }
        too_many += wakes.load() > parked;
    }
    CHECK(too_many == 0);
    CHECK(got.out_of_order == 0);
    all.join();
    CHECK(wakes.load() <= parked);
}

TEST_CASE("nothing is lost and nothing refused was kept when the queue closes among many who push") {
    for (int round = 0; round < 20; ++round) {
        mpsc_queue queue;
        std::atomic<std::size_t> accepted{0}, refused{0};
        received got;
        pushers all(
            [&](parcel& p) { (queue.push(p) == mpsc_queue::push_result::closed ? refused : accepted).fetch_add(1); });
        all.start();
        while (got.count < static_cast<std::size_t>(round) * 200 || !queue.close()) {
            got.note(take(queue));
        }
        all.join();
        CHECK(got.count == accepted.load());
        CHECK(accepted.load() + refused.load() == pushers::threads * pushers::each);
        CHECK(got.out_of_order == 0);
    }
}

TEST_CASE("what other threads take and push again reaches the consumer once") {
    mpsc_queue queue;
    std::mutex consumer;  // what keeps it from taking
    std::atomic<bool> ended{false};
    std::vector<std::thread> takers;
    for (int i = 0; i < 2; ++i) {
        takers.emplace_back([&] {
            while (!ended.load()) {
                const parcels_taken taken = [&] {
                    const std::lock_guard lock(consumer);
                    return take_on_any_thread(queue);
                }();
                if (taken.empty()) {
                    std::this_thread::yield();
                }
                for (parcel* p : taken) {
                    queue.push(*p);
                }
            }
        });
    }
    std::array<std::vector<bool>, pushers::threads> seen;
    seen.fill(std::vector<bool>(pushers::each + 1));
    std::size_t count = 0, twice = 0;
    {
        pushers all([&](parcel& p) { queue.push(p); });
        all.start();
        while (count < pushers::threads * pushers::each) {
            const parcels_taken taken = [&] {
                const std::lock_guard lock(consumer);
                return take(queue);
            }();
            if (taken.empty()) {
                std::this_thread::yield();
            }
            for (const parcel* p : taken) {
                twice += seen[p->from][p->number];
                seen[p->from][p->number] = true;
                ++count;
            }
        }
        ended.store(true);
        for (std::thread& t : takers) {
            t.join();
        }
    }
    CHECK(twice == 0);
    CHECK(take(queue).empty());
}
