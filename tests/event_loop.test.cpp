#include <sincpro/async_worker/event_loop.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
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
#include "support/steps.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::await_location;
using sincpro::detail::clock;
using sincpro::detail::current;
using sincpro::detail::event_loop;
using sincpro::detail::job;
using sincpro::detail::look;
using sincpro::detail::timer;
using sincpro::detail::work;
using sincpro::detail::work_queue;
using support::gate;
using support::steps;

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
    loop_alone() { open_poller(); }
    void hold() noexcept override {}
    void drop() noexcept override { ++drops_; }
    int drops() const noexcept { return drops_; }

    void run_here() {
        run([this] { return stopping_ && door().close(); });
        release_poller();
    }
    void stop() noexcept { stopping_ = true; }  // loop's thread
    std::size_t taken_through_the_door() const noexcept { return taken_; }
    using event_loop::abandon_poller;
    using event_loop::while_held;

private:
    void take_in(sincpro::detail::inbox& from) noexcept override {
        for (work* first = from.take(); first != nullptr;) {
            ++taken_;
            queue(*std::exchange(first, first->next));
        }
    }
    bool stopping_ = false;
    std::size_t taken_ = 0;
    std::atomic<int> drops_{0};
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

struct flow_of_nothing : job {
    explicit flow_of_nothing(event_loop& l) : job(&l) {}
    void finished() noexcept override {}
};

}  // namespace

TEST_CASE("a work_queue is first in, first out") {
    work_queue queue;
    std::string log;
    std::array<call, 3> calls{call([&] { log += 'a'; }), call([&] { log += 'b'; }), call([&] { log += 'c'; })};
    CHECK(queue.empty());
    for (call& c : calls) {
        CHECK_FALSE(c.queued());
        queue.push(c);
        CHECK(c.queued());
    }
    while (!queue.empty()) {
        work& w = queue.pop();
        CHECK_FALSE(w.queued());
        w.run(w);
    }
    CHECK(log == "abc");
    queue.push(calls[2]);
    queue.push(calls[0]);
    CHECK(&queue.pop() == &calls[2]);
    CHECK(&queue.pop() == &calls[0]);
    CHECK(queue.empty());
}

TEST_CASE("work may leave a queue wherever it stands") {
    for (std::size_t leaves = 0; leaves < 3; ++leaves) {
        work_queue queue;
        std::array<call, 3> calls{call([] {}), call([] {}), call([] {})};
        for (call& c : calls) {
            queue.push(c);
        }
        calls[leaves].leave_queue();
        CHECK_FALSE(calls[leaves].queued());
        for (std::size_t i = 0; i < 3; ++i) {
            if (i != leaves) {
                CHECK(&queue.pop() == &calls[i]);
            }
        }
        CHECK(queue.empty());
    }
}

TEST_CASE("take_all appends another queue and leaves it empty") {
    work_queue mine, other;
    std::array<call, 4> calls{call([] {}), call([] {}), call([] {}), call([] {})};
    mine.take_all(other);
    CHECK(mine.empty());
    other.push(calls[0]);
    other.push(calls[1]);
    mine.take_all(other);
    CHECK(other.empty());
    other.push(calls[2]);
    other.push(calls[3]);
    mine.take_all(other);
    CHECK(other.empty());
    calls[2].leave_queue();
    CHECK(&mine.pop() == &calls[0]);
    CHECK(&mine.pop() == &calls[1]);
    CHECK(&mine.pop() == &calls[3]);
    CHECK(mine.empty());
    other.push(calls[2]);
    CHECK(&other.pop() == &calls[2]);
}

TEST_CASE("look does not wait for what is there, sees what comes, and gives up on what does not") {
    int asked = 0;
    CHECK(look([&] { return ++asked == 1; }));
    CHECK(asked == 1);
    // A few yields may take all the time there is on a busy machine, but the condition is asked after the first one.
    asked = 0;
    CHECK(look([&] { return ++asked == 2; }));
    CHECK(asked == 2);
    CHECK_FALSE(look([] { return false; }));
}

TEST_CASE("work that other threads post runs once, on the loop's thread, in the order of each thread") {
    constexpr std::size_t threads = 4, each = 2'000;
    struct numbered : work {
        explicit numbered() : work(&numbered::note) {}
        static void note(work& w) noexcept {
            auto& self = static_cast<numbered&>(w);
            *self.wrong += self.number != *self.next || sincpro::detail::current().loop != self.on;
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
    CHECK(on.loop.taken_through_the_door() == threads * each + 1);
}

TEST_CASE("the loop is its thread's while it runs, and nobody else's") {
    CHECK(sincpro::detail::current().loop == nullptr);
    run_loop([](loop_alone& loop) {
        CHECK(sincpro::detail::current().loop == &loop);
        std::thread([] { CHECK(sincpro::detail::current().loop == nullptr); }).join();
    });
    CHECK(current().loop == nullptr);
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
    CHECK(on.loop.taken_through_the_door() == 201);
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
    struct waiter : sincpro::detail::fd_wait {
        explicit waiter(bool& t) : fd_wait(&waiter::is_ready), told(t) {}
        static void is_ready(fd_wait& w, int) noexcept { static_cast<waiter&>(w).told = true; }
        bool& told;
    } readable(told);
    readable.fd = pair.here.get();
#endif
    const gate begun;
    call first([&] {
        alarm.due = clock::now() + 1ms;
        loop.add_timer(alarm);
#if !defined(_WIN32)
        loop.descriptors().add(readable);
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
    CHECK_FALSE(late.queued());
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

TEST_CASE("a loop whose descriptors were abandoned, as in the child of a fork, refuses work") {
    loop_alone loop;
    loop.abandon_poller();
    call c([] {});
    CHECK_FALSE(loop.post(c));
}

TEST_CASE("while_held does not call anything while no coroutine runs") {
    loop_on_thread on;
    int looks = 0;
    const auto note = [&](const job*, const await_location&) { ++looks; };
    CHECK_FALSE(on.loop.while_held(note));
    const gate begun, go_on;
    call plain([&] {
        begun.open();
        go_on.wait();
    });
    REQUIRE(on.loop.post(plain));
    begun.wait();
    CHECK_FALSE(on.loop.while_held(note));
    go_on.open();
    on.end();
    CHECK(looks == 0);
}

TEST_CASE("while_held shows the job whose coroutine runs, and the loop goes no further meanwhile") {
    const gate begun, go_on, left;
    const auto block = [](gate b, gate g, gate l) -> steps {
        b.open();
        g.wait();
        l.open();
        co_return;
    };
    loop_on_thread on;
    flow_of_nothing j(on.loop);
    std::atomic<bool> went_on{false};
    {
        const steps blocking = block(begun, go_on, left);
        await_location at;
        at.line = 42;
        call next([&] { went_on.store(true); });
        call resuming([&] {
            on.loop.post(next);
            on.loop.resume(j, blocking.frame(), at);
        });
        REQUIRE(on.loop.post(resuming));
        begun.wait();
        const job* shown = nullptr;
        unsigned line = 0;
        bool went_on_while_held = false;
        const bool held = on.loop.while_held([&](const job* running, const await_location& where) {
            shown = running;
            line = where.line;
            go_on.open();
            left.wait();
            for (int i = 0; i < 1'000; ++i) {
                std::this_thread::yield();
            }
            went_on_while_held = went_on.load();
        });
        CHECK(held);
        CHECK(shown == &j);
        CHECK(line == 42);
        CHECK_FALSE(went_on_while_held);
        on.end();
    }
    CHECK(went_on.load());
}

TEST_CASE("while one job runs, the others may be looked at from any thread") {
    // Each job has a number that only the loop's thread changes, without any lock: ThreadSanitizer sees a mistake.
    struct counting : flow_of_nothing {
        using flow_of_nothing::flow_of_nothing;
        volatile std::size_t rounds = 0;  // so that counting takes some time: it is to be seen on one processor too
    };
    const auto count = [](counting& j) -> steps {
        for (;;) {
            for (int i = 0; i < 1'000; ++i) {
                j.rounds = j.rounds + 1;
            }
            co_await std::suspend_always();
        }
    };
    loop_on_thread on;
    std::array<counting, 2> jobs{counting(on.loop), counting(on.loop)};
    const steps first = count(jobs[0]), second = count(jobs[1]);
    std::atomic<bool> enough{false};
    call alternate([&, turn = std::size_t{0}]() mutable {
        const bool even = turn++ % 2 == 0;
        on.loop.resume(jobs[even ? 0 : 1], even ? first.frame() : second.frame(), {});
        if (!enough.load()) {
            on.loop.post(alternate);
        }
    });
    REQUIRE(on.loop.post(alternate));

    std::atomic<int> held{0}, went_backwards{0};
    std::vector<std::thread> watchers;
    for (int t = 0; t < 2; ++t) {
        watchers.emplace_back([&] {
            const auto give_up = clock::now() + support::patience;
            std::array<std::size_t, 2> last{};
            for (int mine = 0; mine < 10 && clock::now() < give_up;) {
                std::this_thread::yield();
                mine += on.loop.while_held([&](const job* running, const await_location&) {
                    const std::size_t other = running == &jobs[0] ? 1 : 0;
                    went_backwards += jobs[other].rounds < last[other];
                    last[other] = jobs[other].rounds;
                    held.fetch_add(1);
                });
            }
        });
    }
    for (std::thread& t : watchers) {
        t.join();
    }
    enough.store(true);
    on.end();
    CHECK(held.load() == 20);
    CHECK(went_backwards.load() == 0);
    const bool took_turns = jobs[0].rounds - jobs[1].rounds <= 1'000;
    CHECK(took_turns);
}

TEST_CASE("a loop drops its own reference when it has ended and nobody is in post() any more") {
    loop_on_thread on;
    CHECK(on.loop.drops() == 0);
    on.end();
    CHECK(on.loop.drops() == 1);
    call late([] {});
    CHECK_FALSE(on.loop.post(late));
    CHECK(on.loop.drops() == 1);
}
