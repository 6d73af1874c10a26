#include <sincpro/async_worker/inbox.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"

namespace {

using sincpro::detail::inbox;
using sincpro::detail::work;
using support::arrivals;

/// Work that nobody runs. What it carries is written before the push and read after the take.
struct parcel : work {
    parcel() : work([](work&) noexcept {}) {}
    std::size_t from = 0;
    std::uint64_t number = 0;
};

std::vector<std::uint64_t> numbers(const work* first) {
    std::vector<std::uint64_t> found;
    for (; first != nullptr; first = first->next) {
        found.push_back(static_cast<const parcel*>(first)->number);
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

/// What a taker sees: how many came, and whether each pusher's came in its order.
struct received {
    void note(const work* first) {
        for (; first != nullptr; first = first->next) {
            const auto& p = *static_cast<const parcel*>(first);
            out_of_order += p.number != last[p.from] + 1;
            last[p.from] = p.number;
            ++count;
        }
    }
    std::array<std::uint64_t, pushers::threads> last{};
    std::size_t count = 0;
    int out_of_order = 0;
};

}  // namespace

TEST_CASE("what was pushed is taken all at once, oldest first") {
    inbox door;
    auto p = parcels<5>();
    CHECK(door.empty());
    CHECK(door.take() == nullptr);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(door.push(p[i]) == inbox::pushed::queued);
    }
    CHECK_FALSE(door.empty());
    CHECK(numbers(door.take()) == expected{1, 2, 3});
    CHECK(door.empty());
    CHECK(door.take() == nullptr);
    door.push(p[4]);
    door.push(p[3]);
    CHECK(numbers(door.take()) == expected{5, 4});
}

TEST_CASE("the first who pushes while the taker is parked must wake it, and nobody else") {
    inbox door;
    auto p = parcels<4>();
    REQUIRE(door.park());
    CHECK(door.empty());
    CHECK(door.push(p[0]) == inbox::pushed::must_wake);
    CHECK(door.push(p[1]) == inbox::pushed::queued);
    CHECK(door.push(p[2]) == inbox::pushed::queued);
    door.unpark();
    CHECK(numbers(door.take()) == expected{1, 2, 3});
    CHECK(door.push(p[3]) == inbox::pushed::queued);
}

TEST_CASE("a taker does not park over what it has not taken") {
    inbox door;
    auto p = parcels<1>();
    door.push(p[0]);
    CHECK_FALSE(door.park());
    CHECK(numbers(door.take()) == expected{1});
    CHECK(door.park());
}

TEST_CASE("after unpark nobody must wake the taker") {
    inbox door;
    auto p = parcels<2>();
    REQUIRE(door.park());
    door.unpark();
    CHECK(door.take() == nullptr);
    CHECK(door.push(p[0]) == inbox::pushed::queued);
    door.unpark();  // of one that is not parked
    CHECK(door.push(p[1]) == inbox::pushed::queued);
    CHECK(numbers(door.take()) == expected{1, 2});
}

TEST_CASE("a closed door refuses, and does not touch what it refuses") {
    inbox door;
    auto p = parcels<2>();
    door.push(p[0]);
    CHECK_FALSE(door.close());
    CHECK(numbers(door.take()) == expected{1});
    REQUIRE(door.close());
    CHECK(door.empty());
    p[1].next = &p[0];
    CHECK(door.push(p[1]) == inbox::pushed::closed);
    CHECK(door.push(p[1]) == inbox::pushed::closed);
    CHECK(p[1].next == &p[0]);
    CHECK(door.empty());
}

TEST_CASE("whoever steals takes everything, oldest first") {
    inbox door;
    auto p = parcels<3>();
    CHECK(door.steal() == nullptr);
    door.push(p[0]);
    door.push(p[1]);
    CHECK(numbers(door.steal()) == expected{1, 2});
    CHECK(door.empty());
    CHECK(door.steal() == nullptr);
    door.push(p[2]);
    CHECK(numbers(door.take()) == expected{3});
}

TEST_CASE("stealing leaves the door parked or closed as it is") {
    inbox door;
    auto p = parcels<2>();
    SECTION("parked") {
        REQUIRE(door.park());
        CHECK(door.steal() == nullptr);
        CHECK(door.push(p[0]) == inbox::pushed::must_wake);
        // The pusher wakes the taker, so whoever pushes next need not.
        CHECK(numbers(door.steal()) == expected{1});
        CHECK(door.push(p[1]) == inbox::pushed::queued);
    }
    SECTION("closed") {
        REQUIRE(door.close());
        CHECK(door.steal() == nullptr);
        CHECK(door.push(p[0]) == inbox::pushed::closed);
    }
}

TEST_CASE("everything that many threads push is taken once, in the order of each thread") {
    inbox door;
    received got;
    pushers all([&](parcel& p) { door.push(p); });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        work* const first = door.take();
        got.note(first);
        if (first == nullptr) {
            std::this_thread::yield();
        }
    }
    CHECK(got.out_of_order == 0);
    all.join();
    CHECK(door.take() == nullptr);
}

TEST_CASE("a parked taker is woken exactly once, by one of many who push at the same time") {
    inbox door;
    arrivals wakes;
    received got;
    std::size_t parked = 0;
    pushers all([&](parcel& p) {
        if (door.push(p) == inbox::pushed::must_wake) {
            wakes.arrive();
        }
    });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        got.note(door.take());
        if (got.count < pushers::threads * pushers::each && door.park()) {
            REQUIRE(wakes.wait_for(++parked));
            door.unpark();
        }
    }
    all.join();
    CHECK(wakes.count() == parked);
    CHECK(got.out_of_order == 0);
}

TEST_CASE("a taker that unparks by itself, as after a timer, is told to wake at most once for each time it parked") {
    inbox door;
    std::atomic<std::size_t> wakes{0};
    received got;
    std::size_t parked = 0;
    std::size_t too_many = 0;
    pushers all([&](parcel& p) {
        if (door.push(p) == inbox::pushed::must_wake) {
            wakes.fetch_add(1);
        }
    });
    all.start();
    while (got.count < pushers::threads * pushers::each) {
        got.note(door.take());
        if (door.park()) {
            ++parked;
            std::this_thread::yield();
            door.unpark();
        }
        too_many += wakes.load() > parked;
    }
    CHECK(too_many == 0);
    CHECK(got.out_of_order == 0);
    all.join();
    CHECK(wakes.load() <= parked);
}

TEST_CASE("nothing is lost and nothing refused was kept when the door closes among many who push") {
    for (int round = 0; round < 20; ++round) {
        inbox door;
        std::atomic<std::size_t> accepted{0}, refused{0};
        received got;
        pushers all([&](parcel& p) { (door.push(p) == inbox::pushed::closed ? refused : accepted).fetch_add(1); });
        all.start();
        while (got.count < static_cast<std::size_t>(round) * 200 || !door.close()) {
            got.note(door.take());
        }
        all.join();
        CHECK(got.count == accepted.load());
        CHECK(accepted.load() + refused.load() == pushers::threads * pushers::each);
        CHECK(got.out_of_order == 0);
    }
}

TEST_CASE("what thieves steal and push again reaches the taker once") {
    inbox door;
    std::atomic<bool> ended{false};
    std::vector<std::thread> thieves;
    for (int i = 0; i < 2; ++i) {
        thieves.emplace_back([&] {
            while (!ended.load()) {
                work* w = door.steal();
                if (w == nullptr) {
                    std::this_thread::yield();
                }
                while (w != nullptr) {
                    work& next = *std::exchange(w, w->next);
                    door.push(next);
                }
            }
        });
    }
    std::array<std::vector<bool>, pushers::threads> seen;
    seen.fill(std::vector<bool>(pushers::each + 1));
    std::size_t count = 0, twice = 0;
    {
        pushers all([&](parcel& p) { door.push(p); });
        all.start();
        while (count < pushers::threads * pushers::each) {
            work* w = door.take();
            if (w == nullptr) {
                std::this_thread::yield();
            }
            for (; w != nullptr; w = w->next) {
                const auto& p = *static_cast<const parcel*>(w);
                twice += seen[p.from][p.number];
                seen[p.from][p.number] = true;
                ++count;
            }
        }
        ended.store(true);
        for (std::thread& t : thieves) {
            t.join();
        }
    }
    CHECK(twice == 0);
    CHECK(door.take() == nullptr);
}
