#include <sincpro/async_worker/detail/loop/timing_wheel.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::detail::clock;
using sincpro::detail::timer;
using sincpro::detail::timing_wheel;

static_assert(noexcept(std::declval<timing_wheel&>().add(std::declval<timer&>())));

/// Where a test's times begin: any time will do, since the queue never asks for the time.
constexpr clock::time_point start{1h};

/// A timer that notes its number when it fires.
struct numbered : timer {
    numbered(int i, clock::duration after, std::vector<int>& into) : timer(&numbered::note), number(i), fired(into) {
        due = start + after;
    }
    static void note(timer& t) noexcept {
        auto& self = static_cast<numbered&>(t);
        self.was_queued_when_fired = self.is_queued();
        self.fired.push_back(self.number);
    }

    int number;
    std::vector<int>& fired;
    bool was_queued_when_fired = true;
};

/// Timers in one place, which they must keep, with room for what they note.
struct timers {
    explicit timers(const std::vector<int>& due_in_ms) {
        all.reserve(due_in_ms.size());
        fired.reserve(due_in_ms.size());
        for (const int ms : due_in_ms) {
            all.emplace_back(static_cast<int>(all.size()), std::chrono::milliseconds(ms), fired);
        }
    }
    void add_to(timing_wheel& queue) {
        for (timer& t : all) {
            queue.add(t);
        }
    }

    std::vector<numbered> all;
    std::vector<int> fired;
};

/// The numbers of `due_in_ms` in the order in which they have to fire.
std::vector<int> expected_order(const std::vector<int>& due_in_ms) {
    std::vector<int> order(due_in_ms.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
        const int due_a = due_in_ms[static_cast<std::size_t>(a)], due_b = due_in_ms[static_cast<std::size_t>(b)];
        return due_a != due_b ? due_a < due_b : a < b;
    });
    return order;
}

}  // namespace

TEST_CASE("an empty queue has nothing to fire and nothing to wait for") {
    timing_wheel queue;
    CHECK(queue.empty());
    CHECK(queue.earliest() == clock::time_point::max());
    queue.fire_due(clock::time_point::max());
    CHECK(queue.empty());
}

TEST_CASE("a timer is queued until it fires or is removed") {
    timers t({1, 2});
    timing_wheel queue;
    CHECK_FALSE(t.all[0].is_queued());
    t.add_to(queue);
    CHECK(t.all[0].is_queued());
    CHECK(t.all[1].is_queued());
    queue.fire_due(start);
    CHECK(queue.earliest() > start);
    CHECK(queue.earliest() <= start + 1ms);
    queue.remove(t.all[1]);
    CHECK_FALSE(t.all[1].is_queued());
    queue.fire_due(start + 1ms);
    CHECK(t.fired == std::vector<int>{0});
    CHECK_FALSE(t.all[0].is_queued());
    CHECK_FALSE(t.all[0].was_queued_when_fired);
    CHECK(queue.empty());
    CHECK(queue.earliest() == clock::time_point::max());
}

TEST_CASE("timers fire when they are due, not before, earliest first") {
    timers t({5, 1, 4, 2, 3});
    timing_wheel queue;
    t.add_to(queue);
    queue.fire_due(start);
    queue.fire_due(start + 1ms - 1ns);
    CHECK(t.fired.empty());
    queue.fire_due(start + 1ms);
    CHECK(t.fired == std::vector<int>{1});
    CHECK(queue.earliest() > start + 1ms);
    CHECK(queue.earliest() <= start + 2ms);
    queue.fire_due(start + 4ms);
    CHECK(t.fired == std::vector<int>{1, 3, 4, 2});
    queue.fire_due(clock::time_point::max());
    CHECK(t.fired == std::vector<int>{1, 3, 4, 2, 0});
}

TEST_CASE("timers that are due at the same time fire in the order of their adding") {
    timers t(std::vector<int>(100, 7));
    timing_wheel queue;
    t.add_to(queue);
    SECTION("all of them") {
        queue.fire_due(start + 7ms);
        CHECK(t.fired == expected_order(std::vector<int>(100, 7)));
    }
    SECTION("one that is added again comes last") {
        queue.remove(t.all[0]);
        queue.remove(t.all[50]);
        queue.add(t.all[50]);
        queue.add(t.all[0]);
        queue.fire_due(start + 7ms);
        REQUIRE(t.fired.size() == 100);
        CHECK(std::is_sorted(t.fired.begin(), t.fired.end() - 2));
        CHECK(t.fired[98] == 50);
        CHECK(t.fired[99] == 0);
    }
}

TEST_CASE("any timer can be removed, and the others keep their order") {
    // Two equal ones among six; every order of adding, before and after the first was taken.
    std::vector<int> due_in_ms{1, 2, 3, 3, 4, 5};
    int wrong = 0;
    do {
        for (std::size_t removed = 0; removed < due_in_ms.size(); ++removed) {
            for (const bool after_a_pop : {false, true}) {
                timers t(due_in_ms);
                timing_wheel queue;
                t.add_to(queue);
                if (after_a_pop) {
                    queue.fire_due(start + 1ms);
                }
                if (t.all[removed].is_queued()) {
                    queue.remove(t.all[removed]);
                }
                queue.fire_due(clock::time_point::max());
                auto expected = expected_order(due_in_ms);
                if (!after_a_pop || due_in_ms[removed] != 1) {
                    std::erase(expected, static_cast<int>(removed));
                }
                wrong += t.fired != expected || !queue.empty();
            }
        }
    } while (std::next_permutation(due_in_ms.begin(), due_in_ms.end()));
    CHECK(wrong == 0);
}

TEST_CASE("what a timer does when it fires may change the queue") {
    struct acting : timer {
        acting(timing_wheel& q, timer& o) : timer(&acting::act), queue(q), other(o) {}
        static void act(timer& t) noexcept {
            auto& self = static_cast<acting&>(t);
            ++self.count;
            if (self.other.is_queued()) {
                self.queue.remove(self.other);
            }
            if (self.again) {
                self.due += 1ms;
                self.queue.add(self);
            }
        }
        timing_wheel& queue;
        timer& other;
        bool again = false;
        int count = 0;
    };
    timing_wheel queue;
    timers victim({2});
    acting first(queue, victim.all[0]);
    first.due = start + 1ms;
    queue.add(first);
    victim.add_to(queue);
    SECTION("removing another that is due too") {
        queue.fire_due(start + 3ms);
        CHECK(first.count == 1);
        CHECK(victim.fired.empty());
        CHECK(queue.empty());
    }
    SECTION("adding itself again for later") {
        first.again = true;
        queue.fire_due(start + 1ms);
        CHECK(first.count == 1);
        CHECK(queue.earliest() == start + 2ms);
        queue.fire_due(start + 5ms);
        CHECK(first.count == 5);
        CHECK(queue.earliest() == start + 6ms);
        queue.remove(first);
        CHECK(queue.empty());
    }
}

TEST_CASE("random operations do the same as with a std::multimap") {
    constexpr std::size_t size = 200;
    std::mt19937 random(20260117);
    const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };

    timers t(std::vector<int>(size, 0));
    timing_wheel queue;
    std::multimap<clock::time_point, int> model;
    std::vector<std::multimap<clock::time_point, int>::iterator> position(size, model.end());
    std::vector<int> expected;
    clock::time_point now = start;
    for (int round = 0; round < 30'000; ++round) {
        const std::size_t i = below(size);
        numbered& chosen = t.all[i];
        REQUIRE(chosen.is_queued() == (position[i] != model.end()));
        if (chosen.is_queued()) {
            queue.remove(chosen);
            model.erase(position[i]);
            position[i] = model.end();
        } else {
            chosen.due = now + std::chrono::milliseconds(below(50));  // few values, so many are equal
            queue.add(chosen);
            position[i] = model.emplace(chosen.due, chosen.number);
        }
        if (below(10) == 0) {
            now += std::chrono::milliseconds(below(10));
            t.fired.clear();
            expected.clear();
            queue.fire_due(now);
            CHECK_FALSE(queue.earliest() <= now);
            while (!model.empty() && model.begin()->first <= now) {
                expected.push_back(model.begin()->second);
                position[static_cast<std::size_t>(model.begin()->second)] = model.end();
                model.erase(model.begin());
            }
            REQUIRE(t.fired == expected);
        }
        REQUIRE(queue.empty() == model.empty());
        REQUIRE(queue.earliest() <= (model.empty() ? clock::time_point::max() : model.begin()->first));
        if (model.size() == 1) REQUIRE(queue.earliest() == model.begin()->first);
    }
    CHECK(now > start);
}

TEST_CASE("who sleeps until the earliest time wakes when each timer is due, and seldom for nothing") {
    std::mt19937_64 random(6);
    std::vector<clock::duration> after;
    for (const clock::duration longest : {clock::duration(1us), clock::duration(1s), clock::duration(1h)}) {
        for (int i = 0; i < 100; ++i) {
            const auto ticks = static_cast<std::uint64_t>(longest.count());
            after.emplace_back(static_cast<clock::rep>(random() % ticks));
        }
    }
    timing_wheel queue;
    queue.fire_due(start);
    std::vector<int> fired;
    fired.reserve(after.size());
    std::vector<numbered> all;
    all.reserve(after.size());
    for (const clock::duration d : after) {
        all.emplace_back(static_cast<int>(all.size()), d, fired);
        queue.add(all.back());
    }
    std::size_t wakings = 0, wrong = 0;
    while (!queue.empty()) {
        const clock::time_point now = queue.earliest();
        const std::size_t before = fired.size();
        queue.fire_due(now);
        ++wakings;
        for (std::size_t i = before; i < fired.size(); ++i) {
            wrong += all[static_cast<std::size_t>(fired[i])].due != now;
        }
    }
    CHECK(fired.size() == after.size());
    CHECK(wrong == 0);
    CHECK(wakings < 4 * after.size());
}

TEST_CASE("100,000 timers fire in order, in whichever order they were added and removed") {
    constexpr int count = 100'000;
    const std::string added = GENERATE("ascending", "descending", "all at once", "random");
    const std::string removed = GENERATE("none", "every second", "all but the last three, newest first");
    CAPTURE(added, removed);

    std::vector<int> due_in_ms(count);
    if (added == "ascending") {
        std::iota(due_in_ms.begin(), due_in_ms.end(), 0);
    } else if (added == "descending") {
        std::iota(due_in_ms.rbegin(), due_in_ms.rend(), 0);
    } else if (added == "random") {
        std::mt19937 random(7);
        for (int& ms : due_in_ms) {
            ms = std::uniform_int_distribution<int>(0, 1000)(random);
        }
    }
    timers t(due_in_ms);
    timing_wheel queue;
    t.add_to(queue);
    auto expected = expected_order(due_in_ms);
    if (removed == "every second") {
        for (std::size_t i = 1; i < t.all.size(); i += 2) {
            queue.remove(t.all[i]);
        }
        std::erase_if(expected, [](int i) { return i % 2 == 1; });
    } else if (removed != "none") {
        for (std::size_t i = t.all.size() - 3; i-- > 0;) {
            queue.remove(t.all[i]);
        }
        std::erase_if(expected, [](int i) { return i < count - 3; });
    }
    queue.fire_due(clock::time_point::max());
    const bool in_order = t.fired == expected;  // not printed when it fails
    CHECK(in_order);
    CHECK(queue.empty());
}
