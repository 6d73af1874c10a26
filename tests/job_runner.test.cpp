#include <sincpro/async_worker/detail/coroutine/job_runner.hpp>

#include <sincpro/async_worker/detail/coroutine/operation.hpp>
#include <sincpro/async_worker/detail/loop/event_loop.hpp>
#include <sincpro/async_worker/detail/loop/work.hpp>

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/steps.hpp"

namespace {

using sincpro::await_location;
using sincpro::detail::clock;
using sincpro::detail::event_loop;
using sincpro::detail::job;
using sincpro::detail::job_runner;
using sincpro::detail::work;
using support::gate;
using support::steps;

/// Calls a function when it is run.
struct call : work {
    explicit call(std::function<void()> f) : work(&call::run_function), function(std::move(f)) {}
    static void run_function(work& w) noexcept { static_cast<call&>(w).function(); }
    std::function<void()> function;
};

struct loop_with_jobs final : event_loop {
    loop_with_jobs() { open(); }
    ~loop_with_jobs() override = default;
    bool has_ended() noexcept override { return stopping && posted().close(); }
    void run_here() {
        run();
        close();
    }
    job_runner runner{*this};
    bool stopping = false;  // loop's thread
};

/// A loop on a thread of its own, from construction to end().
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

    loop_with_jobs loop;

private:
    call stop_{[this] { loop.stopping = true; }};
    std::thread thread_;
};

struct flow_of_nothing : job {
    explicit flow_of_nothing(job_runner& r) : job(&r) {}
    void ended() noexcept override {}
};

}  // namespace

TEST_CASE("visit_while_running does not call anything while no coroutine runs") {
    loop_on_thread on;
    int visits = 0;
    const auto note = [&](const job_runner::running_code&) { ++visits; };
    CHECK_FALSE(on.loop.runner.visit_while_running(note));
    const gate begun, go_on;
    call plain([&] {
        begun.open();
        go_on.wait();
    });
    REQUIRE(on.loop.post(plain));
    begun.wait();
    CHECK_FALSE(on.loop.runner.visit_while_running(note));
    go_on.open();
    on.end();
    CHECK(visits == 0);
}

TEST_CASE("visit_while_running shows the job whose coroutine runs, and the loop goes no further meanwhile") {
    const gate begun, go_on, left;
    const auto block = [](gate b, gate g, gate l) -> steps {
        b.open();
        g.wait();
        l.open();
        co_return;
    };
    loop_on_thread on;
    flow_of_nothing j(on.loop.runner);
    std::atomic<bool> went_on{false};
    {
        const steps blocking = block(begun, go_on, left);
        await_location at;
        at.line = 42;
        call next([&] { went_on.store(true); });
        call resuming([&] {
            on.loop.post(next);
            on.loop.runner.resume(j, blocking.frame(), at);
        });
        REQUIRE(on.loop.post(resuming));
        begun.wait();
        const job* shown = nullptr;
        unsigned line = 0;
        bool went_on_meanwhile = false;
        const bool visited = on.loop.runner.visit_while_running([&](const job_runner::running_code& now) {
            shown = now.root;
            line = now.at.line;
            go_on.open();
            left.wait();
            for (int i = 0; i < 1'000; ++i) {
                std::this_thread::yield();
            }
            went_on_meanwhile = went_on.load();
        });
        CHECK(visited);
        CHECK(shown == &j);
        CHECK(line == 42);
        CHECK_FALSE(went_on_meanwhile);
        on.end();
    }
    CHECK(went_on.load());
}

TEST_CASE("while one job runs, the others may be visited from any thread") {
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
    std::array<counting, 2> jobs{counting(on.loop.runner), counting(on.loop.runner)};
    const steps first = count(jobs[0]), second = count(jobs[1]);
    std::atomic<bool> enough{false};
    call alternate([&, turn = std::size_t{0}]() mutable {
        const bool even = turn++ % 2 == 0;
        on.loop.runner.resume(jobs[even ? 0 : 1], even ? first.frame() : second.frame(), {});
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
                mine += on.loop.runner.visit_while_running([&](const job_runner::running_code& now) {
                    const std::size_t other = now.root == &jobs[0] ? 1 : 0;
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
