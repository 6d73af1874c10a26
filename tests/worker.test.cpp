#include <sincpro/async_worker/worker.hpp>

#include <sincpro/async_worker/cancellation.hpp>
#include <sincpro/async_worker/errors.hpp>
#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/shield.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <csignal>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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
using sincpro::task;
using sincpro::worker;
using sincpro::worker_stopped;
using sincpro::yield;
using std::chrono::steady_clock;
using support::arrivals;
using support::counted;
using support::gate;
using support::lifetimes;
using support::opens_at_exit;
using support::this_thread_number;
using support::thrown;
using support::thrown_by;

static_assert(!std::is_copy_constructible_v<worker> && !std::is_move_constructible_v<worker>);

task<int> gives(int value) {
    co_await yield();
    co_return value;
}

task<std::int64_t> thread_of_task() { co_return this_thread_number(); }

/// Waits for ever, but can be cancelled.
task<int> waits(arrivals begun, [[maybe_unused]] counted object) {
    begun.arrive();
    co_await sleep_for(std::chrono::hours::max());
    co_return 0;
}

/// Cannot be cancelled before `end` is open: blocks its worker's thread.
task<int> blocks(gate begun, gate end, [[maybe_unused]] counted object) {
    begun.open();
    end.wait();
    co_return 1;
}

/// Cannot be cancelled before `end` is open: swallows every cancellation.
task<int> swallows(gate begun, gate end, [[maybe_unused]] counted object) {
    begun.open();
    while (!end.is_open()) {
        try {
            co_await sleep_for(1ms);
        } catch (const operation_cancelled&) {
        }
    }
    co_return 2;
}

/// What a caller of run() got, as a word.
template <class F>
std::string outcome_of(F&& call) {
    try {
        (void)call();
        return "value";
    } catch (const worker_stopped&) {
        return "worker_stopped";
    } catch (const operation_cancelled&) {
        return "operation_cancelled";
    } catch (const std::exception& error) {
        return error.what();
    }
}

}  // namespace

// Its life

TEST_CASE("the constructor starts nothing, the first run does") {
    worker w;
    CHECK_FALSE(w.is_running());
    CHECK(w.run(gives(3)) == 3);
    CHECK(w.is_running());
}

TEST_CASE("submit starts the worker too") {
    worker w;
    CHECK(w.submit(gives(4)).get() == 4);
    CHECK(w.is_running());
}

TEST_CASE("start and shutdown are idempotent") {
    worker w;
    w.shutdown();
    CHECK_FALSE(w.is_running());
    w.start();
    CHECK(w.is_running());
    const auto thread = w.run(thread_of_task());
    w.start();
    CHECK(w.run(thread_of_task()) == thread);
    w.shutdown();
    CHECK_FALSE(w.is_running());
    w.shutdown();
    CHECK_FALSE(w.is_running());
}

TEST_CASE("after a shutdown the next run or submit starts it again") {
    worker w;
    for (int round = 0; round < 20; ++round) {
        CHECK(w.run(gives(round)) == round);
        w.shutdown();
        CHECK_FALSE(w.is_running());
        CHECK(w.submit(gives(round)).get() == round);
        CHECK(w.is_running());
        w.shutdown();
    }
    w.start();
    CHECK(w.run(gives(5), 60s) == 5);
}

TEST_CASE("a worker runs its tasks on a thread of its own") {
    worker first, second;
    const auto one = first.run(thread_of_task());
    const auto two = second.run(thread_of_task(), 60s);
    CHECK(one != two);
    CHECK(one != sincpro::run_async_task(thread_of_task()));
    CHECK(one != this_thread_number());
    CHECK(first.run(thread_of_task()) == one);
}

TEST_CASE("the free functions use the default worker") {
    sincpro::run_async_task(gives(1));
    CHECK(sincpro::default_worker().is_running());
    CHECK(sincpro::default_worker().run(thread_of_task()) == sincpro::run_async_task(thread_of_task()));
    CHECK(&sincpro::default_worker() == &sincpro::default_worker());
}

TEST_CASE("configure is for the next start and a logic_error while the worker runs") {
    worker w;
    w.configure({.name = "first"});
    w.start();
    CHECK_THROWS_AS(w.configure({.name = "second"}), std::logic_error);
    CHECK(w.run(gives(1)) == 1);
    w.shutdown();
    w.configure({.name = "third"});
    CHECK(w.run(gives(2)) == 2);
#if defined(__linux__)
    CHECK(support::thread_name(w.run(thread_of_task())) == "third");
#endif
}

// Shutdown

TEST_CASE("shutdown cancels all tasks, which unwind on the worker thread before it returns") {
    const lifetimes log;
    worker w({.shutdown_grace = support::patience});
    const auto thread = w.run(thread_of_task());
    const arrivals begun;
    std::vector<std::future<int>> futures;
    for (int i = 0; i < 50; ++i) {
        futures.push_back(w.submit(waits(begun, counted(log))));
    }
    begun.wait(50);
    w.shutdown();
    CHECK(log.alive() == 0);
    CHECK(log.destroyed_on() == thread);
    for (auto& future : futures) {
        CHECK(outcome_of([&] { return future.get(); }) == "operation_cancelled");
    }
}

TEST_CASE("callers that wait when the worker is shut down get operation_cancelled") {
    const lifetimes log;
    worker w({.shutdown_grace = support::patience});
    const arrivals begun;
    std::vector<std::string> outcomes(8);
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        callers.emplace_back([&, i] {
            outcomes[i] = outcome_of([&] {
                return i % 2 == 0 ? w.run(waits(begun, counted(log))) : w.run(waits(begun, counted(log)), 24h);
            });
        });
    }
    begun.wait(outcomes.size());
    w.shutdown();
    for (auto& caller : callers) {
        caller.join();
    }
    CHECK(outcomes == std::vector<std::string>(outcomes.size(), "operation_cancelled"));
    CHECK(log.alive() == 0);
}

TEST_CASE("shutdown lets a task clean up within shutdown_grace") {
    struct coroutines {
        static task<> cleans_up(gate begun, bool& clean) {
            begun.open();
            try {
                co_await sleep_for(24h);
            } catch (const operation_cancelled&) {
            }
            auto clean_up = sleep_for(50ms);
            co_await sincpro::shield(std::move(clean_up));
            clean = true;
        }
    };
    worker w({.shutdown_grace = support::patience});
    const gate begun;
    bool clean = false;
    auto future = w.submit(coroutines::cleans_up(begun, clean));
    begun.wait();
    w.shutdown();
    CHECK(clean);
    CHECK(outcome_of([&] { return (future.get(), 0); }) == "value");
}

TEST_CASE("a caller whose task does not stop within shutdown_grace gets worker_stopped, and the task is left alone") {
    const auto check = [](auto endless, int result) {
        const lifetimes log;
        worker w({.shutdown_grace = 50ms});
        const gate begun, end;
        const opens_at_exit guard(end);
        std::string outcome;
        std::thread caller([&] { outcome = outcome_of([&] { return w.run(endless(begun, end, counted(log))); }); });
        begun.wait();
        auto future = w.submit(endless(begun, end, counted(log)));
        w.shutdown();
        caller.join();
        CHECK(outcome == "worker_stopped");
        // Not begun when the thread is blocked, and what has not begun can be cancelled.
        const auto second = outcome_of([&] { return future.get(); });
        CHECK((second == "worker_stopped" || second == "operation_cancelled"));
        CHECK_FALSE(w.is_running());
        CHECK(log.alive() > 0);

        // The stuck thread is no obstacle to a new start.
        end.open();
        CHECK(w.run(endless(gate(), end, counted(log))) == result);
        CHECK(log.wait_until_gone());
    };
    SECTION("because it blocks the thread") { check(blocks, 1); }
    SECTION("because it swallows cancellation") { check(swallows, 2); }
}

TEST_CASE("the worker starts again while a thread that it left is still stuck") {
    const lifetimes log;
    worker w({.shutdown_grace = 10ms});
    std::vector<gate> ends(3);
    std::vector<std::future<int>> futures;
    for (const gate& end : ends) {
        const gate begun;
        futures.push_back(w.submit(blocks(begun, end, counted(log))));
        begun.wait();
        w.shutdown();
        CHECK(w.run(gives(6)) == 6);
    }
    for (auto& future : futures) {
        CHECK(outcome_of([&] { return future.get(); }) == "worker_stopped");
    }
    CHECK(log.alive() == 3);
    for (const gate& end : ends) {
        end.open();
    }
    CHECK(log.wait_until_gone());
}

TEST_CASE("shutdown reaches the callers whose tasks a stuck thread has not begun") {
    const lifetimes log;
    worker w({.shutdown_grace = 50ms});
    const gate begun, end;
    const opens_at_exit guard(end);
    auto stuck = w.submit(blocks(begun, end, counted(log)));
    begun.wait();

    const arrivals at_the_door, not_begun;
    std::vector<std::string> outcomes(6);
    std::vector<std::thread> callers;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        callers.emplace_back([&, i] {
            outcomes[i] = outcome_of([&] {
                auto mine = waits(not_begun, counted(log));
                at_the_door.arrive();
                return i % 2 == 0 ? w.run(std::move(mine)) : w.run(std::move(mine), 24h);
            });
        });
    }
    at_the_door.wait(outcomes.size());
    // Who is not quite in run() yet would start the worker again after one shutdown.
    std::atomic<bool> all_back = false;
    std::thread stops([&] {
        while (!all_back) {
            w.shutdown();
            std::this_thread::sleep_for(1ms);
        }
    });
    for (auto& caller : callers) {
        caller.join();
    }
    all_back = true;
    stops.join();
    for (const auto& outcome : outcomes) {
        CHECK((outcome == "worker_stopped" || outcome == "operation_cancelled"));
    }
    CHECK(outcome_of([&] { return stuck.get(); }) == "worker_stopped");
    end.open();
    CHECK(log.wait_until_gone());
}

TEST_CASE("an endless shutdown_grace waits for the task") {
    const lifetimes log;
    worker w({.shutdown_grace = std::chrono::milliseconds::max()});
    const gate begun, end;
    const opens_at_exit guard(end);
    auto future = w.submit(blocks(begun, end, counted(log)));
    begun.wait();
    std::thread releases([&] {
        std::this_thread::sleep_for(200ms);
        end.open();
    });
    w.shutdown();
    CHECK(log.alive() == 0);
    releases.join();
    CHECK(outcome_of([&] { return future.get(); }) == "value");
}

TEST_CASE("a shutdown_grace of zero or less does not wait") {
    for (const auto grace : {0ms, -5ms, std::chrono::milliseconds::min()}) {
        const lifetimes log;
        worker w({.shutdown_grace = grace});
        const gate begun, end;
        const opens_at_exit guard(end);
        auto future = w.submit(blocks(begun, end, counted(log)));
        begun.wait();
        w.shutdown();
        CHECK(outcome_of([&] { return future.get(); }) == "worker_stopped");
        CHECK(log.alive() == 1);
        end.open();
        CHECK(log.wait_until_gone());
    }
}

TEST_CASE("shutdown from the worker's own thread is an error, and the worker goes on") {
    worker w;
    worker other;
    other.start();
    const auto thread = w.run(thread_of_task());
    const auto code = w.run([&]() -> task<std::error_code> {
        co_await yield();
        const auto error = thrown<std::system_error>([&] { return (w.shutdown(), 0); });
        co_return error.code();
    });
    CHECK(code == std::errc::resource_deadlock_would_occur);
    CHECK(w.is_running());
    CHECK(w.run(thread_of_task()) == thread);
    w.run([&]() -> task<> {
        other.shutdown();
        co_return;
    });
    CHECK_FALSE(other.is_running());
}

TEST_CASE("the destructor shuts the worker down") {
    const lifetimes log;
    std::future<int> cancelled;
    std::future<int> ended;
    {
        worker w({.shutdown_grace = support::patience});
        const arrivals begun;
        ended = w.submit(gives(9));
        ended.wait();
        cancelled = w.submit(waits(begun, counted(log)));
        begun.wait(1);
    }
    CHECK(log.alive() == 0);
    CHECK(ended.get() == 9);
    CHECK(outcome_of([&] { return cancelled.get(); }) == "operation_cancelled");
}

TEST_CASE("a task may drop the last owner of its worker: the destructor cancels, detaches and returns") {
    struct coroutines {
        static task<std::string> drops(std::shared_ptr<worker> last, gate alone, gate begun) {
            begun.open();
            alone.wait();
            last.reset();
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
                co_return "cancelled";
            }
            co_return "not cancelled";
        }
    };
    const lifetimes log;
    auto w = std::make_shared<worker>();
    const auto thread = w->run(thread_of_task());
    const gate alone, begun;
    const arrivals other_begun;
    auto other = w->submit(waits(other_begun, counted(log)));
    other_begun.wait(1);
    auto future = w->submit(coroutines::drops(w, alone, begun));
    begun.wait();
    w.reset();
    alone.open();
    REQUIRE(future.wait_for(support::patience) == std::future_status::ready);
    CHECK(future.get() == "cancelled");
    REQUIRE(other.wait_for(support::patience) == std::future_status::ready);
    CHECK(outcome_of([&] { return other.get(); }) == "operation_cancelled");
    CHECK(log.wait_until_gone());
    CHECK(log.destroyed_on() == thread);
#if defined(__linux__)
    CHECK(support::thread_ends(thread));
#endif
}

TEST_CASE("a worker may be destroyed on the thread of another worker") {
    auto inner = std::make_unique<worker>();
    CHECK(inner->run(gives(1)) == 1);
    worker outer;
    outer.run([&]() -> task<> {
        inner.reset();
        co_return;
    });
    CHECK(inner == nullptr);
}

TEST_CASE("many threads may shut down at once, and each returns when the worker has stopped") {
    const lifetimes log;
    worker w({.shutdown_grace = support::patience});
    for (int round = 0; round < 50; ++round) {
        const arrivals begun;
        auto future = w.submit(waits(begun, counted(log)));
        begun.wait(1);
        std::vector<int> alive(4, -1);
        std::vector<std::thread> stoppers;
        for (auto& left : alive) {
            stoppers.emplace_back([&] {
                w.shutdown();
                left = log.alive();
            });
        }
        for (auto& stopper : stoppers) {
            stopper.join();
        }
        REQUIRE(alive == std::vector<int>(4, 0));
        REQUIRE(outcome_of([&] { return future.get(); }) == "operation_cancelled");
    }
}

TEST_CASE("a run or submit that races with shutdown is cancelled by it or starts the worker again, never lost") {
    worker w({.shutdown_grace = support::patience});
    std::atomic<bool> done = false;
    std::atomic<int> surprises = 0;
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&, caller] {
            for (int i = 0; i < 500; ++i) {
                const auto outcome = outcome_of([&] {
                    int result = 0;
                    switch ((caller + i) % 4) {
                        case 0: result = w.run(gives(i)); break;
                        case 1: result = w.run(gives(i), 24h); break;
                        case 2: result = w.submit(gives(i)).get(); break;
                        default: {
                            auto future = w.submit(gives(i));
                            if (future.wait_for(support::patience) != std::future_status::ready) {
                                throw std::runtime_error("lost");
                            }
                            result = future.get();
                        }
                    }
                    if (result != i) {
                        throw std::runtime_error("somebody else's result");
                    }
                    return result;
                });
                if (outcome != "value" && outcome != "operation_cancelled") {
                    ++surprises;
                }
            }
        });
    }
    std::thread stops([&] {
        while (!done) {
            w.shutdown();
            std::this_thread::yield();
        }
    });
    for (auto& caller : callers) {
        caller.join();
    }
    done = true;
    stops.join();
    CHECK(surprises == 0);
}

#if defined(__linux__)

// Its thread

TEST_CASE("many threads that call first at the same time start one thread") {
    for (int round = 0; round < 20; ++round) {
        const std::string name = "first-call-" + std::to_string(round);
        worker w({.name = name});
        const gate all_at_once;
        std::vector<std::int64_t> ran_on(16, 0);
        std::vector<std::thread> callers;
        for (std::size_t i = 0; i < ran_on.size(); ++i) {
            callers.emplace_back([&, i] {
                all_at_once.wait();
                ran_on[i] = i % 3 == 0 ? w.submit(thread_of_task()).get() : w.run(thread_of_task());
            });
        }
        all_at_once.open();
        for (auto& caller : callers) {
            caller.join();
        }
        CHECK(ran_on == std::vector<std::int64_t>(ran_on.size(), ran_on[0]));
        CHECK(support::threads_named(name) == std::vector<std::int64_t>{ran_on[0]});
    }
}

TEST_CASE("the worker thread is named async-worker or as the options say") {
    worker plain;
    CHECK(support::thread_name(plain.run(thread_of_task())) == "async-worker");
    CHECK(support::thread_name(sincpro::run_async_task(thread_of_task())) == "async-worker");
    worker named({.name = "db"});
    CHECK(support::thread_name(named.run(thread_of_task())) == "db");
    worker longer({.name = "a-name-that-is-too-long-for-the-system"});
    CHECK(support::thread_name(longer.run(thread_of_task())) == "a-name-that-is-");
}

TEST_CASE("shutdown joins the thread and leaves no descriptor behind") {
    worker w;
    std::int64_t thread = w.run(thread_of_task());
    w.shutdown();
    CHECK(support::thread_ends(thread));
    const auto before = support::open_descriptors();
    for (int round = 0; round < 50; ++round) {
        thread = w.run(thread_of_task());
        w.shutdown();
    }
    CHECK(support::thread_ends(thread));
    CHECK(support::open_descriptors() == before);
}

TEST_CASE("the worker thread blocks all asynchronous signals but SIGPROF") {
    worker w;
    const auto blocked = w.run([]() -> sincpro::task<sigset_t> {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        co_return mask;
    });
    const auto is_blocked = [&](int signal) { return sigismember(&blocked, signal) == 1; };
    for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGCONT,
                             SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGVTALRM, SIGWINCH, SIGIO, SIGRTMIN}) {
        INFO("signal " << signal);
        CHECK(is_blocked(signal));
    }
    for (const int signal : {SIGPROF, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
        INFO("signal " << signal);
        CHECK_FALSE(is_blocked(signal));
    }
}

TEST_CASE("starting the worker leaves the caller's signal mask as it is") {
    sigset_t one, before, after;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &one, nullptr);
    pthread_sigmask(SIG_SETMASK, nullptr, &before);
    worker w;
    w.start();
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    for (int signal = 1; signal < SIGRTMAX; ++signal) {
        CHECK(sigismember(&before, signal) == sigismember(&after, signal));
    }
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
}

namespace {

std::atomic<int> handled{0};
std::atomic<std::int64_t> handled_on{0};

/// Counts a signal and remembers the thread, while it is in scope.
class handles_signal {
public:
    explicit handles_signal(int signal) : signal_(signal) {
        handled = 0;
        handled_on = 0;
        struct sigaction action = {};
        action.sa_handler = [](int) {
            handled_on = this_thread_number();
            ++handled;
        };
        sigaction(signal_, &action, &before_);
    }
    handles_signal(const handles_signal&) = delete;
    ~handles_signal() { sigaction(signal_, &before_, nullptr); }

private:
    int signal_;
    struct sigaction before_ = {};
};

}  // namespace

TEST_CASE("a signal sent to the process is handled on another thread than the worker's") {
    sincpro::default_worker().shutdown();  // else it would not matter to it that the others have all signals blocked
    const handles_signal handler(SIGUSR1);
    worker w;
    const auto thread = w.run(thread_of_task());
    sigset_t one, pending;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    // Were it not blocked on the worker's thread, this would leave only that one to handle it.
    pthread_sigmask(SIG_BLOCK, &one, nullptr);
    kill(getpid(), SIGUSR1);
    for (int i = 0; i < 10; ++i) {
        CHECK(w.run(gives(i)) == i);
    }
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1) == 1);
    CHECK(handled == 0);
    pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
    CHECK(handled == 1);
    CHECK(handled_on == this_thread_number());
    CHECK(handled_on != thread);
}

TEST_CASE("a profiler's signals do not disturb the worker") {
    const handles_signal handler(SIGPROF);
    worker w;
    const auto thread = w.run(thread_of_task());
    const gate begun;
    auto sleeper = w.submit([&]() -> task<bool> {
        const auto from = steady_clock::now();
        begun.open();
        co_await sleep_for(200ms);
        co_return steady_clock::now() - from >= 200ms;
    });
    begun.wait();
    const auto give_up = steady_clock::now() + support::patience;
    for (int sent = 1; sent <= 50; ++sent) {
        syscall(SYS_tgkill, getpid(), static_cast<pid_t>(thread), SIGPROF);
        while (handled < sent && steady_clock::now() < give_up) {
            std::this_thread::yield();
        }
    }
    CHECK(handled == 50);
    CHECK(handled_on == thread);
    CHECK(sleeper.get());
}

TEST_CASE("a signal that is handled on a blocked caller's thread does not end its wait") {
    const handles_signal handler(SIGUSR1);
    worker w;
    support::foreign_event event;
    const gate begun;
    pthread_t caller_thread = pthread_self();
    std::thread interrupts([&] {
        begun.wait();
        const auto give_up = steady_clock::now() + support::patience;
        for (int sent = 1; sent <= 20; ++sent) {
            pthread_kill(caller_thread, SIGUSR1);
            while (handled < sent && steady_clock::now() < give_up) {
                std::this_thread::yield();
            }
        }
        event.set();
    });
    const auto wait = [&]() -> task<int> {
        begun.open();
        co_await event;
        co_return 5;
    };
    CHECK(w.run(wait, 24h) == 5);
    interrupts.join();
    CHECK(handled == 20);
    CHECK(handled_on == this_thread_number());
}

// No busy waiting

TEST_CASE("a worker with nothing to do uses no processor time and makes no system calls") {
    worker w;
    const auto check_idle = [](std::int64_t thread) {
        REQUIRE(support::comes_to_rest(thread));
        const auto before = support::activity_of(thread);
        std::this_thread::sleep_for(300ms);
        CHECK(support::activity_of(thread) == before);
    };
    SECTION("after it has run something") { check_idle(w.run(thread_of_task())); }
    SECTION("after it was started") {
        w.configure({.name = "only-started"});
        w.start();
        const auto give_up = steady_clock::now() + support::patience;
        while (support::threads_named("only-started").empty() && steady_clock::now() < give_up) {
            std::this_thread::yield();
        }
        REQUIRE(support::threads_named("only-started").size() == 1);
        check_idle(support::threads_named("only-started")[0]);
    }
    SECTION("while its tasks wait") {
        const lifetimes log;
        const arrivals begun;
        auto future = w.submit(waits(begun, counted(log)));
        auto later = w.submit(sleep_for(1h));
        begun.wait(1);
        check_idle(w.run(thread_of_task()));
    }
}

TEST_CASE("a caller that waits uses no processor time") {
    worker w;
    support::foreign_event event;
    std::atomic<std::int64_t> plain = 0;
    std::atomic<std::int64_t> with_timeout = 0;
    std::atomic<std::int64_t> reads_future = 0;
    const arrivals begun;
    const auto wait = [&]() -> task<> {
        begun.arrive();
        co_await event;
    };
    std::thread runs([&] {
        plain = this_thread_number();
        w.run(wait);
    });
    std::thread runs_with_timeout([&] {
        with_timeout = this_thread_number();
        w.run(wait, 24h);
    });
    std::thread reads([&] {
        reads_future = this_thread_number();
        w.submit(wait).get();
    });
    begun.wait(3);
    const std::vector<std::int64_t> threads{plain, with_timeout, reads_future};
    for (const auto thread : threads) {
        CHECK(support::comes_to_rest(thread));
    }
    std::vector<support::thread_activity> before, after;
    for (const auto thread : threads) {
        before.push_back(support::activity_of(thread));
    }
    std::this_thread::sleep_for(300ms);
    for (const auto thread : threads) {
        after.push_back(support::activity_of(thread));
    }
    event.set();
    runs.join();
    runs_with_timeout.join();
    reads.join();
    CHECK((before == after));
}

// No more threads

namespace {

std::atomic<int> refusals{0};  // so many of the next threads cannot be started

bool refuses_a_thread() {
    int left = refusals;
    while (left > 0 && !refusals.compare_exchange_weak(left, left - 1)) {
    }
    return left > 0;
}

}  // namespace

extern "C" {

// A sanitizer's own, if there is one; what it calls would not be found behind this executable.
[[gnu::weak]] int __interceptor_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
    if (refuses_a_thread()) {
        return EAGAIN;
    }
    if (__interceptor_pthread_create != nullptr) {
        return __interceptor_pthread_create(thread, attributes, start, argument);
    }
    using signature = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto original = reinterpret_cast<signature>(::dlsym(RTLD_NEXT, "pthread_create"));
    return original(thread, attributes, start, argument);
}
}

TEST_CASE(
    "if the thread cannot be started the caller gets std::system_error, nothing leaks, and the next call tries again") {
    const lifetimes log;
    const arrivals begun;
    worker w;
    CHECK(w.run(gives(1)) == 1);  // whatever is made once is made
    w.shutdown();
    const auto descriptors = support::open_descriptors();
    const auto code = [](auto&& call) { return thrown<std::system_error>(call).code(); };
    const auto no_threads = std::errc::resource_unavailable_try_again;
    for (int round = 0; round < 10; ++round) {
        refusals = 5;
        CHECK(code([&] { return w.run(waits(begun, counted(log))); }) == no_threads);
        CHECK(code([&] { return w.run(waits(begun, counted(log)), 60s); }) == no_threads);
        CHECK(code([&] { return w.run([object = counted(log)] { return gives(1); }); }) == no_threads);
        CHECK(code([&] { return w.submit(waits(begun, counted(log))).get(); }) == no_threads);
        CHECK(code([&] { return (w.start(), 0); }) == no_threads);
        REQUIRE(refusals == 0);
        CHECK(log.alive() == 0);
        CHECK_FALSE(w.is_running());
        CHECK(w.run(gives(round)) == round);
        CHECK(w.is_running());
        w.shutdown();
    }
    CHECK(begun.count() == 0);
    CHECK(support::open_descriptors() == descriptors);
}

TEST_CASE("when the thread cannot be started for some of many first callers, each gets its result or the error") {
    for (int round = 0; round < 20; ++round) {
        worker w;
        const gate all_at_once;
        std::vector<std::string> outcomes(8);
        std::vector<std::thread> callers;
        for (std::size_t i = 0; i < outcomes.size(); ++i) {
            callers.emplace_back([&, i] {
                all_at_once.wait();
                try {
                    outcomes[i] = w.run(gives(7)) == 7 ? "value" : "wrong value";
                } catch (const std::system_error& error) {
                    outcomes[i] = error.code() == std::errc::resource_unavailable_try_again ? "refused" : "wrong error";
                }
            });
        }
        refusals = 3;
        all_at_once.open();
        for (auto& caller : callers) {
            caller.join();
        }
        refusals = 0;
        for (const auto& outcome : outcomes) {
            CHECK((outcome == "value" || outcome == "refused"));
        }
        CHECK(w.run(gives(8)) == 8);
    }
}

#endif

TEST_CASE("a shutdown releases a caller whose time of grace has no end") {
    worker w({.cancel_grace = std::chrono::milliseconds::max(), .shutdown_grace = 20ms});
    const support::gate begun, go_on;
    struct coroutines {
        static task<> block(support::gate begun, support::gate go_on) {
            begun.open();
            go_on.wait();
            co_return;
        }
    };
    std::thread shuts_down([&] {
        begun.wait();
        std::this_thread::sleep_for(30ms);  // the deadline should pass first; if not, the error is another one
        w.shutdown();
    });
    for (bool waits = true; waits;) {
        try {
            w.run(coroutines::block(begun, go_on), 1ms);
            FAIL("nothing was thrown");
        } catch (const sincpro::timeout_error& e) {
            waits = !begun.is_open();  // or else the time was over before it began
            CHECK(e.task_stopped() == waits);
        } catch (const sincpro::worker_stopped&) {
            waits = false;  // shut down before its deadline
        }
    }
    shuts_down.join();
    go_on.open();
}

TEST_CASE("every caller is released by a shutdown that gives up, also while others dump") {
    for (int round = 0; round < 5; ++round) {
        worker w({.shutdown_grace = 5ms});
        const support::gate begun, go_on;
        const auto block = [=]() -> task<> {
            begun.open();
            go_on.wait();
            co_return;
        };
        auto blocked = w.submit(block);
        begun.wait();
        struct coroutines {
            static task<int> give(int n) { co_return n; }
        };
        std::vector<sincpro::task_future<int>> futures;
        for (int i = 0; i < 5'000; ++i) futures.push_back(w.submit(coroutines::give(i)));
        std::vector<std::thread> dumping;
        for (int t = 0; t < 3; ++t) {
            dumping.emplace_back([&] {
                std::ostringstream out;
                w.dump(out);
            });
        }
        w.shutdown();
        for (std::thread& t : dumping) t.join();
        std::size_t left = 0;
        for (auto& f : futures) left += f.wait_for(0s) != std::future_status::ready;
        CHECK(left == 0);
        go_on.open();
        try {
            blocked.get();
        } catch (const operation_cancelled&) {
        }
    }
}

TEST_CASE("configure() destroys the old options where they may use the worker") {
    worker w;
    struct asks_when_destroyed {
        explicit asks_when_destroyed(worker& of) : w(&of) {}
        asks_when_destroyed(const asks_when_destroyed&) = default;
        asks_when_destroyed& operator=(const asks_when_destroyed&) = default;
        ~asks_when_destroyed() { static_cast<void>(w->is_running()); }
        void operator()(const std::exception_ptr&) const {}
        worker* w;
    };
    w.configure({.on_unobserved_exception = asks_when_destroyed(w)});
    w.configure({});
    CHECK_FALSE(w.is_running());
}
