#include <sincpro/async_worker/detail/loop/event_loop.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::detail::clock;
using sincpro::detail::event_loop;
using sincpro::detail::timer;
using sincpro::detail::work;
using support::gate;

/// Calls a function when it is run.
struct call : work {
    explicit call(std::function<void()> f) : work(&call::run_function), function(std::move(f)) {}
    static void run_function(work& w) noexcept { static_cast<call&>(w).function(); }
    std::function<void()> function;
};

/// Calls a function when it is due.
struct alarm_clock : timer {
    explicit alarm_clock(std::function<void()> f) : timer(&alarm_clock::ring), function(std::move(f)) {}
    static void ring(timer& t) noexcept { static_cast<alarm_clock&>(t).function(); }
    std::function<void()> function;
};

/// An event loop alone, which ends when stop() was called and nothing is left to do.
class loop_alone final : public event_loop {
public:
    loop_alone() { open(); }
    ~loop_alone() override = default;

    void run_here() {
        run();
        close();
    }
    void stop() noexcept { stopping_ = true; }  // loop's thread
    std::size_t taken_from_other_threads() const noexcept { return taken_; }
    using event_loop::close_after_fork;

private:
    bool has_ended() noexcept override { return stopping_ && posted().close(); }
    void take_posted(std::size_t limit) noexcept override {
        posted().take(limit, [this](work& w) {
            ++taken_;
            enqueue(w);
        });
    }
    bool stopping_ = false;
    std::size_t taken_ = 0;
};

/// The same on a thread of its own, from construction to end().
class loop_on_thread {
public:
    loop_on_thread() : thread_([this] { loop.run_here(); }) {}
    loop_on_thread(const loop_on_thread&) = delete;
    loop_on_thread& operator=(const loop_on_thread&) = delete;
    ~loop_on_thread() { end(); }
    void end() {
        if (thread_.joinable()) {
            loop.post(stop_);
            thread_.join();
        }
    }
    /// Runs `f` on the loop's thread and waits until it has run.
    void run(std::function<void()> f) {
        const gate ran;
        // Not on the stack: GCC 12 believes that the loop still points to it afterwards.
        const auto c = std::make_unique<call>([&] {
            f();
            ran.open();
        });
        if (loop.post(*c)) {
            ran.wait();
        }
    }

    loop_alone loop;

private:
    call stop_{[this] { loop.stop(); }};
    std::thread thread_;
};

/// Runs `f` as the first work of a loop on this thread, until the loop has nothing more to do.
void run_loop(const std::function<void(loop_alone&)>& f) {
    loop_alone loop;
    call first([&] {
        loop.stop();
        f(loop);
    });
    REQUIRE(loop.post(first));
    loop.run_here();
}

}  // namespace

TEST_CASE("work that other threads post runs once, on the loop's thread, in the order of each thread") {
    constexpr std::size_t threads = 4, each = 2'000;
    struct numbered : work {
        explicit numbered() : work(&numbered::note) {}
        static void note(work& w) noexcept {
            auto& self = static_cast<numbered&>(w);
            *self.wrong += self.number != *self.next || event_loop::of_this_thread() != self.on;
            ++*self.next;
        }
        std::size_t number = 0;
        std::size_t* next = nullptr;
        int* wrong = nullptr;
        event_loop* on = nullptr;
    };
    std::array<std::vector<numbered>, threads> posted;
    std::array<std::size_t, threads> next{};
    int wrong = 0;
    loop_on_thread on;
    std::vector<std::thread> all;
    for (std::size_t t = 0; t < threads; ++t) {
        posted[t] = std::vector<numbered>(each);
        all.emplace_back([&, t] {
            for (std::size_t i = 0; i < each; ++i) {
                numbered& n = posted[t][i];
                n.number = i;
                n.next = &next[t];
                n.wrong = &wrong;
                n.on = &on.loop;
                on.loop.post(n);
                if (i % 100 == 0) {
                    std::this_thread::sleep_for(30us);  // so that the loop parks now and then
                }
            }
        });
    }
    for (std::thread& t : all) {
        t.join();
    }
    on.end();
    CHECK(wrong == 0);
    for (const std::size_t count : next) {
        CHECK(count == each);
    }
    CHECK(on.loop.taken_from_other_threads() == threads * each + 1);
}

TEST_CASE("the loop is its thread's while it runs, and nobody else's") {
    CHECK(event_loop::of_this_thread() == nullptr);
    run_loop([](loop_alone& loop) {
        CHECK(event_loop::of_this_thread() == &loop);
        std::thread([] { CHECK(event_loop::of_this_thread() == nullptr); }).join();
    });
    CHECK(event_loop::of_this_thread() == nullptr);
}

TEST_CASE("a sleeping loop wakes up for every post") {
    loop_on_thread on;
    for (int i = 0; i < 200; ++i) {
        on.run([] {});
        if (i % 10 == 0) {
            std::this_thread::sleep_for(1ms);  // longer than it looks around before it sleeps
        }
    }
    on.end();
    CHECK(on.loop.taken_from_other_threads() == 201);
}

TEST_CASE("a pass lets everything that was ready run once before anything runs again") {
    std::string log;
    std::vector<std::unique_ptr<call>> calls;
    run_loop([&](loop_alone& loop) {
        for (const char name : {'a', 'b', 'c'}) {
            calls.push_back(std::make_unique<call>([&, name, rounds = 0]() mutable {
                log += name;
                if (++rounds < 3) {
                    loop.post(*calls[static_cast<std::size_t>(name - 'a')]);
                }
            }));
        }
        for (const auto& c : calls) {
            loop.post(*c);
        }
    });
    CHECK(log == "abcabcabc");
}

TEST_CASE("work that posts itself for ever starves neither timers, nor descriptors, nor other threads") {
    bool timer_fired = false, told = false;
    const gate other_ran;
    std::function<bool()> all_were_served = [&] { return timer_fired && told && other_ran.is_open(); };

    loop_alone loop;
    std::size_t rounds = 0;
    call busy([&] {
        ++rounds;
        if (all_were_served()) {
            loop.stop();
        } else {
            loop.post(busy);
        }
    });
    alarm_clock alarm([&] { timer_fired = true; });
#if defined(_WIN32)
    told = true;
#else
    support::socket_pair pair;
    struct waiter : sincpro::detail::descriptor_wait {
        waiter(int descriptor, bool& t)
            : descriptor_wait(descriptor, sincpro::detail::direction::readable, &waiter::is_ready), told(t) {}
        static void is_ready(descriptor_wait& w, int) noexcept { static_cast<waiter&>(w).told = true; }
        bool& told;
    } readable(pair.here.get(), told);
#endif
    const gate begun;
    call first([&] {
        alarm.due = clock::now() + 1ms;
        loop.add_timer(alarm);
#if !defined(_WIN32)
        loop.add_descriptor(readable);
#endif
        begun.open();
        loop.post(busy);
    });
    REQUIRE(loop.post(first));
    call from_elsewhere([&] { other_ran.open(); });
    std::thread other([&] {
        begun.wait();
#if !defined(_WIN32)
        support::write_byte(pair.there.get());
#endif
        loop.post(from_elsewhere);
    });
    loop.run_here();
    other.join();
    CHECK(all_were_served());
    CHECK(rounds > 0);
}

TEST_CASE("timers fire in order, never early, and wake a sleeping loop") {
    loop_alone loop;
    std::vector<int> order;
    int early = 0;
    std::vector<std::unique_ptr<alarm_clock>> alarms;
    call first([&] {
        const auto start = clock::now();
        for (const int ms : {7, 1, 4, 4, 2}) {
            const auto due = start + std::chrono::milliseconds(ms);
            const int number = static_cast<int>(alarms.size());
            alarms.push_back(std::make_unique<alarm_clock>([&, due, number] {
                early += clock::now() < due;
                order.push_back(number);
                if (order.size() == alarms.size()) {
                    loop.stop();
                }
            }));
            alarms.back()->due = due;
            loop.add_timer(*alarms.back());
        }
    });
    REQUIRE(loop.post(first));
    loop.run_here();
    CHECK(early == 0);
    CHECK(order == std::vector<int>{1, 4, 2, 3, 0});
}

TEST_CASE("a loop that sleeps until a late timer takes an earlier one") {
    loop_on_thread on;
    bool late_fired = false;
    const gate early_fired;
    alarm_clock late([&] { late_fired = true; }), early([&] { early_fired.open(); });
    on.run([&] {
        late.due = clock::now() + 1h;
        on.loop.add_timer(late);
    });
    std::this_thread::sleep_for(2ms);  // usually it sleeps by now; it must work either way
    clock::time_point due;
    on.run([&] {
        due = early.due = clock::now() + 1ms;
        on.loop.add_timer(early);
    });
    early_fired.wait();
    CHECK(clock::now() >= due);
    on.run([&] { on.loop.remove_timer(late); });
    on.end();
    CHECK_FALSE(late_fired);
    CHECK_FALSE(late.is_queued());
}

TEST_CASE("a loop that has ended refuses work, and what it accepted before has run") {
    for (int round = 0; round < 30; ++round) {
        loop_on_thread on;
        std::atomic<std::size_t> accepted{0}, ran{0};
        std::vector<std::thread> all;
        std::vector<std::vector<std::unique_ptr<call>>> posted(3);
        const gate go;
        for (auto& mine : posted) {
            all.emplace_back([&] {
                go.wait();
                do {
                    mine.push_back(std::make_unique<call>([&] { ran.fetch_add(1); }));
                } while (on.loop.post(*mine.back()) && accepted.fetch_add(1) < 1'000'000);
            });
        }
        go.open();
        on.end();
        for (std::thread& t : all) {
            t.join();
        }
        REQUIRE(ran.load() == accepted.load());
        call late([] {});
        REQUIRE_FALSE(on.loop.post(late));
    }
}

#if defined(__linux__)
TEST_CASE("the descriptors of a loop are closed when it has ended, not under those who still wake it") {
    const std::size_t before = support::open_descriptors();
    for (int round = 0; round < 30; ++round) {
        loop_on_thread on;
        std::vector<std::thread> all;
        std::array<std::vector<call>, 3> posted;
        for (auto& mine : posted) {
            for (int i = 0; i < 50; ++i) {
                mine.emplace_back([] {});
            }
            all.emplace_back([&] {
                for (call& c : mine) {
                    on.loop.post(c);
                    std::this_thread::yield();
                }
            });
        }
        on.end();
        for (std::thread& t : all) {
            t.join();
        }
        REQUIRE(support::open_descriptors() == before);
    }
}
#endif

TEST_CASE("a loop whose descriptors were closed, as in the child of a fork, refuses work") {
    loop_alone loop;
    loop.close_after_fork();
    call c([] {});
    CHECK_FALSE(loop.post(c));
}

TEST_CASE("a loop holds a reference to itself until it has ended and nobody is in post() any more") {
    struct counted_loop final : event_loop {
        explicit counted_loop(int& n) : deleted(n) { open(); }
        ~counted_loop() override { ++deleted; }
        bool has_ended() noexcept override { return posted().close(); }
        void run_here() {
            run();
            close();
        }
        int& deleted;
    };
    int deleted = 0;
    auto* const loop = new counted_loop(deleted);
    const sincpro::detail::intrusive_ptr<event_loop> mine(loop);
    std::thread([loop] { loop->run_here(); }).join();
    CHECK(deleted == 0);
    call late([] {});
    CHECK_FALSE(loop->post(late));
    auto* const other = new counted_loop(deleted);
    other->release();
    CHECK(deleted == 0);
    std::thread([other] { other->run_here(); }).join();
    CHECK(deleted == 1);
}
