#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/owned_coroutine.hpp"
#include "support/sanitizers.hpp"

// Two things that happen at the same time, again and again: whichever comes first, the outcome must be one of the two.

namespace {

using namespace std::chrono_literals;
using sincpro::completion;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::task;
using sincpro::task_future;
using sincpro::timeout_error;
using sincpro::worker;
using sincpro::worker_stopped;
using sincpro::yield;
using support::arrivals;
using support::owned_coroutine;

/// How many rounds of each race: as the environment says, else as many as the build can bear.
std::size_t rounds() {
    if (const char* const wanted = std::getenv("SINCPRO_RACE_ROUNDS")) {
        return std::max<std::size_t>(1, std::stoul(wanted));
    }
    return TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER ? 5'000 : 20'000;
}

/// A thread that does one thing beside the test's own, round after round.
class opponent {
public:
    opponent() : thread_([this] { run(); }) {}
    opponent(const opponent&) = delete;
    opponent& operator=(const opponent&) = delete;
    ~opponent() {
        begin(nullptr);
        thread_.join();
    }

    /// Calls both at the same time, as nearly as that can be had, and returns when both have returned.
    template <class Theirs, class Ours>
    void meet(Theirs theirs, Ours ours) {
        struct call final : action {
            explicit call(Theirs& f) : function(f) {}
            void run() override { function(); }
            Theirs& function;
        };
        struct wait_at_exit {
            ~wait_at_exit() {
                std::unique_lock lock(of.mutex_);
                of.changed_.wait(lock, [this] { return !of.busy_; });
            }
            opponent& of;
        };
        call their_call(theirs);
        begin(&their_call);
        const wait_at_exit at_exit{*this};
        // Sometimes we are first, since the other thread must wake up; sometimes it has a head start.
        if (++round_ % 2 == 0) {
            while (!there_.load(std::memory_order_acquire)) {
                std::this_thread::yield();
            }
        }
        ours();
    }

private:
    struct action {
        virtual void run() = 0;

    protected:
        ~action() = default;
    };

    void begin(action* what) {
        const std::lock_guard lock(mutex_);
        next_ = what;
        busy_ = true;
        there_ = false;
        changed_.notify_all();
    }

    void run() {
        for (;;) {
            action* what = nullptr;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [this] { return busy_; });
                what = next_;
            }
            if (what == nullptr) {
                return;
            }
            there_.store(true, std::memory_order_release);
            what->run();
            const std::lock_guard lock(mutex_);
            busy_ = false;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    action* next_ = nullptr;
    bool busy_ = false;
    std::atomic<bool> there_{false};
    std::size_t round_ = 0;
    std::thread thread_;
};

/// How many at a time meet: one hand-over between the threads is dearer than what races.
constexpr std::size_t batch = 50;

/// i-th of a batch for one side of a race: the other side goes from 0 up, this one too, or down, or from the middle.
std::size_t other_order(std::size_t i, std::size_t round) {
    switch (round % 3) {
        case 0: return i;
        case 1: return batch - 1 - i;
        default: return (i + batch / 2) % batch;
    }
}

/// Lets the others come in between: what one side does is over sooner than a thread wakes up.
void breathe(std::size_t i) {
    if (i % 8 == 0) {
        std::this_thread::yield();
    }
}

}  // namespace

TEST_CASE("the return of a function and the destruction of another library's coroutine that awaits it") {
    struct coroutines {
        static owned_coroutine wait(std::atomic<int>& returning, bool& went_on) {
            const auto function = [&returning] { ++returning; };
            co_await sincpro::to_thread(function);
            went_on = true;
        }
        static task<> destroy_while_they_return(std::size_t rounds, bool& went_on) {
            for (std::size_t round = 0; round < rounds; ++round) {
                std::atomic<int> returning{0};
                {
                    const owned_coroutine waits = wait(returning, went_on);
                    while (returning == 0) std::this_thread::yield();
                    for (std::size_t i = 0; i < round % 64; ++i) static_cast<void>(returning.load());
                }
                co_await yield();
            }
        }
    };
    bool went_on = false;
    run_async_task(coroutines::destroy_while_they_return(rounds(), went_on));
    CHECK_FALSE(went_on);
}

TEST_CASE(
    "a completion and a cancellation at the same time: the task gets the value exactly if the caller was told so") {
    struct callback {
        std::optional<completion<std::size_t>> done;
        bool taken = false;
        std::atomic<int> aborted{0};
    };
    struct coroutines {
        static task<std::size_t> await(callback& c, arrivals begun, bool with_on_cancel) {
            const auto initiate = [&](completion<std::size_t> done) {
                if (with_on_cancel) {
                    done.on_cancel([&c] { ++c.aborted; });
                }
                c.done.emplace(std::move(done));
                begun.arrive();
            };
            co_return co_await sincpro::await_callback<std::size_t>(initiate);
        }
    };
    worker w;
    opponent library;
    std::size_t completed = 0;
    std::size_t cancelled = 0;
    const std::size_t batches = rounds() / batch + 1;
    for (std::size_t round = 0; round < batches; ++round) {
        std::array<callback, batch> callbacks;
        std::vector<task_future<std::size_t>> futures;
        const arrivals begun;
        for (std::size_t i = 0; i < batch; ++i) {
            futures.push_back(w.submit(coroutines::await(callbacks[i], begun, i % 2 == 0)));
        }
        begun.wait(batch);
        const auto complete = [&] {
            for (std::size_t i = 0; i < batch; ++i) {
                breathe(i);
                callbacks[i].taken = (*callbacks[i].done)(std::size_t{i});
            }
        };
        const auto cancel = [&] {
            for (std::size_t i = 0; i < batch; ++i) {
                futures[other_order(i, round)].cancel();
            }
        };
        library.meet(complete, cancel);
        for (std::size_t i = 0; i < batch; ++i) {
            try {
                const auto got = futures[i].get();
                REQUIRE(got == i);
                REQUIRE(callbacks[i].taken);
                REQUIRE((callbacks[i].aborted == 0 || i % 2 == 0));  // what comes in spite of an abortion is kept
                ++completed;
            } catch (const operation_cancelled&) {
                REQUIRE_FALSE(callbacks[i].taken);
                REQUIRE(i % 2 != 0);
                ++cancelled;
            }
        }
    }
    CHECK(completed + cancelled == batches * batch);
}

TEST_CASE("the drop of a completion and a cancellation at the same time: the first of the two is what the task gets") {
    struct call {
        std::optional<completion<>> kept;
        std::atomic<int> aborted{0};
    };
    struct coroutines {
        static task<> await(call& c, arrivals begun, bool with_on_cancel) {
            const auto initiate = [&](completion<> done) {
                if (with_on_cancel) {
                    done.on_cancel([&c] { ++c.aborted; });
                }
                c.kept.emplace(std::move(done));
                begun.arrive();
            };
            co_await sincpro::await_callback<>(initiate);
        }
    };
    worker w;
    opponent library;
    std::size_t broken = 0;
    std::size_t cancelled = 0;
    const std::size_t batches = rounds() / batch + 1;
    for (std::size_t round = 0; round < batches; ++round) {
        std::array<call, batch> calls;
        std::vector<task_future<void>> futures;
        const arrivals begun;
        for (std::size_t i = 0; i < batch; ++i) {
            futures.push_back(w.submit(coroutines::await(calls[i], begun, i % 2 == 0)));
        }
        begun.wait(batch);
        const auto drop = [&] {
            for (std::size_t i = 0; i < batch; ++i) {
                breathe(i);
                calls[i].kept.reset();
            }
        };
        const auto cancel = [&] {
            for (std::size_t i = 0; i < batch; ++i) {
                futures[other_order(i, round)].cancel();
            }
        };
        library.meet(drop, cancel);
        for (std::size_t i = 0; i < batch; ++i) {
            try {
                futures[i].get();
                FAIL("nobody has called the completion");
            } catch (const operation_cancelled&) {
                REQUIRE(calls[i].aborted == (i % 2 == 0 ? 1 : 0));
                ++cancelled;
            } catch (const std::future_error&) {
                REQUIRE(calls[i].aborted == 0);
                ++broken;
            }
        }
    }
    CHECK(broken + cancelled == batches * batch);
}

TEST_CASE("a to_thread function and a cancellation: the task waits for the function, unless it may be abandoned") {
    struct functions {
        static int answer(const arrivals& begun, const std::shared_ptr<std::atomic<bool>>& ended) {
            begun.arrive();
            ended->store(true);
            return 42;
        }
    };
    worker w;
    std::size_t completed = 0;
    std::size_t cancelled = 0;
    const std::size_t all = rounds() / 5 + 1;
    for (std::size_t round = 0; round < all; ++round) {
        const arrivals begun;
        const auto ended = std::make_shared<std::atomic<bool>>(false);
        auto future = round % 2 == 0
                          ? w.submit(sincpro::to_thread(functions::answer, begun, ended))
                          : w.submit(sincpro::to_thread(sincpro::abandon_on_cancel, functions::answer, begun, ended));
        begun.wait(1);
        future.cancel();
        try {
            const int got = future.get();
            REQUIRE(got == 42);
            REQUIRE(*ended);
            ++completed;
        } catch (const operation_cancelled&) {
            REQUIRE((*ended || round % 2 != 0));
            ++cancelled;
        }
    }
    CHECK(completed + cancelled == all);
}

TEST_CASE("a result and the deadline of the bridge at the same time: one of the two, and the task is gone") {
    struct coroutines {
        static task<int> sleep(std::chrono::microseconds time, int& alive) {
            struct counts {
                explicit counts(int& n) : count(n) { ++count; }
                ~counts() { --count; }
                int& count;
            };
            const counts in_frame(alive);
            co_await sleep_for(time);
            co_return 42;
        }
    };
    constexpr std::size_t callers = 8;
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    std::atomic<std::size_t> returned{0};
    std::atomic<std::size_t> timed_out{0};
    std::atomic<bool> wrong{false};
    const std::size_t each = rounds() / callers + 1;
    const auto call_repeatedly = [&] {
        for (std::size_t i = 0; i < each; ++i) {
            const auto time = std::chrono::microseconds(20 + i % 50);
            int alive = 0;
            try {
                wrong = wrong || w.run(coroutines::sleep(time, alive), time + 1us * (i % 7)) != 42;
                ++returned;
            } catch (const timeout_error& e) {
                wrong = wrong || !e.task_stopped();
                ++timed_out;
            }
            wrong = wrong || alive != 0;
        }
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < callers; ++i) {
        threads.emplace_back(call_repeatedly);
    }
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(returned + timed_out == callers * each);
    CHECK_FALSE(wrong);
}

TEST_CASE("a result from another thread and the deadline of the bridge at the same time") {
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    opponent library;
    std::size_t returned = 0;
    std::size_t timed_out = 0;
    const std::size_t all = rounds() / 5 + 1;
    for (std::size_t round = 0; round < all; ++round) {
        struct shared {
            std::mutex mutex;
            std::optional<completion<int>> done;
        };
        const auto both = std::make_shared<shared>();
        bool taken = false;
        bool got_it = false;
        std::atomic<bool> over{false};
        const auto complete = [&, both] {
            std::optional<completion<int>> done;
            while (!done && !over) {
                std::this_thread::yield();
                const std::lock_guard lock(both->mutex);
                done.swap(both->done);
            }
            taken = done && (*done)(42);
        };
        const auto call = [&] {
            const auto initiate = [&](completion<int> done) {
                const std::lock_guard lock(both->mutex);
                both->done.emplace(std::move(done));
            };
            try {
                got_it = w.run(sincpro::await_callback<int>(initiate), 1us * (10 + round % 50)) == 42;
                ++returned;
            } catch (const timeout_error& e) {
                REQUIRE(e.task_stopped());
                ++timed_out;
            }
            over = true;
        };
        library.meet(complete, call);
        REQUIRE((taken || !got_it));
    }
    CHECK(returned + timed_out == all);
}

TEST_CASE("a result and the deadline of with_timeout at the same time") {
    struct coroutines {
        static task<int> nap(std::chrono::steady_clock::time_point until) {
            co_await sincpro::sleep_until(until);
            co_return 42;
        }
        static task<bool> one(std::chrono::microseconds time) {
            const auto until = std::chrono::steady_clock::now() + time;
            bool right = false;
            try {
                right = co_await sincpro::with_timeout(nap(until), time) == 42;
            } catch (const timeout_error&) {
                right = true;
            }
            co_return right;
        }
    };
    const std::size_t at_once = 1'000;
    const std::size_t batches = rounds() / at_once + 1;
    for (std::size_t round = 0; round < batches; ++round) {
        std::vector<task<bool>> all;
        for (std::size_t i = 0; i < at_once; ++i) {
            all.push_back(coroutines::one(std::chrono::microseconds(i % 100)));
        }
        const auto right = run_async_task(sincpro::when_all(std::move(all)));
        REQUIRE(std::count(right.begin(), right.end(), false) == 0);
    }
}

TEST_CASE("a shutdown and a submit at the same time: every future gets a result or a cancellation") {
    struct coroutines {
        static task<int> answer() {
            co_await yield();
            co_return 42;
        }
    };
    worker w;
    opponent stops;
    std::size_t answered = 0;
    std::size_t cancelled = 0;
    const std::size_t all = rounds();
    for (std::size_t round = 0; round < all; ++round) {
        std::optional<task_future<int>> future;
        stops.meet([&] { w.shutdown(); }, [&] { future.emplace(w.submit(coroutines::answer())); });
        try {
            const int got = future->get();
            REQUIRE(got == 42);
            ++answered;
        } catch (const operation_cancelled&) {
            ++cancelled;
        }
    }
    CHECK(answered + cancelled == all);
}

TEST_CASE("a completion is called on another thread while its worker goes away: the value arrives all the same") {
    opponent library;
    for (std::size_t round = 0; round < rounds() / 20; ++round) {
        std::optional<completion<int>> done;
        const arrivals begun;
        std::optional<worker> short_lived(std::in_place);
        const auto begin = [&](completion<int> c) {
            done = std::move(c);
            begun.arrive();
        };
        task_future<int> future = short_lived->submit(sincpro::await_callback<int>(begin));
        REQUIRE(begun.wait_for(1));
        bool taken = false;
        int got = 0;
        library.meet([&] { taken = (*done)(7); },
                     [&] {
                         got = future.get();
                         future = {};
                         short_lived.reset();
                     });
        REQUIRE(taken);
        REQUIRE(got == 7);
    }
}

TEST_CASE("shutdowns beside many callers that run and submit lose no result and hold nobody up") {
    struct coroutines {
        static task<int> answer(int n) {
            co_await yield();
            co_return n;
        }
    };
    constexpr std::size_t callers = 4;
    worker w;
    std::atomic<std::size_t> answered{0};
    std::atomic<std::size_t> cancelled{0};
    std::atomic<bool> wrong{false};
    std::atomic<std::size_t> busy{callers};
    const std::size_t each = rounds() / callers / 4 + 1;
    const auto call_repeatedly = [&] {
        for (std::size_t i = 0; i < each; ++i) {
            const int n = static_cast<int>(i);
            try {
                wrong =
                    wrong || (i % 2 == 0 ? w.run(coroutines::answer(n)) : w.submit(coroutines::answer(n)).get()) != n;
                ++answered;
            } catch (const operation_cancelled&) {
                ++cancelled;
            }
        }
        --busy;
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < callers; ++i) {
        threads.emplace_back(call_repeatedly);
    }
    while (busy != 0) {
        w.shutdown();
        std::this_thread::yield();
    }
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(answered + cancelled == callers * each);
    CHECK_FALSE(wrong);
}

TEST_CASE("a cancellation and the drop of the future at the same time as the end of the task: each frame goes once") {
    const support::lifetimes frames;
    struct coroutines {
        static task<> end(support::counted) { co_await yield(); }
    };
    worker w;
    const std::size_t all = rounds();
    for (std::size_t round = 0; round < all; ++round) {
        auto future = w.submit(coroutines::end(support::counted(frames)));
        if (round % 3 != 0) {
            future.cancel();
        }
        if (round % 3 == 2) {
            try {
                future.get();
            } catch (const operation_cancelled&) {
            }
        }
    }
    w.shutdown();
    CHECK(frames.constructed() >= static_cast<int>(all));
    CHECK(frames.alive() == 0);
}

#if !defined(_WIN32)

TEST_CASE("a descriptor that becomes ready and a cancellation at the same time end the wait either way") {
    struct pair {
        pair() {
            if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0) {
                throw std::system_error(errno, std::generic_category(), "socketpair");
            }
            for (const int fd : ends) {
                ::fcntl(fd, F_SETFL, O_NONBLOCK);
            }
        }
        pair(const pair&) = delete;
        pair& operator=(const pair&) = delete;
        ~pair() {
            ::close(ends[0]);
            ::close(ends[1]);
        }
        bool put() const { return ::write(ends[1], "x", 1) == 1; }
        bool take() const {
            char byte = 0;
            return ::read(ends[0], &byte, 1) == 1;
        }
        std::array<int, 2> ends{};
    };
    worker w;
    opponent peer;
    std::array<pair, batch> pairs;
    std::size_t ready = 0;
    std::size_t cancelled = 0;
    bool all_put = true;
    const std::size_t batches = rounds() / batch + 1;
    for (std::size_t round = 0; round < batches; ++round) {
        std::vector<task_future<void>> futures;
        for (const auto& one : pairs) {
            futures.push_back(w.submit(sincpro::wait_readable(one.ends[0])));
        }
        w.run(yield());
        const auto put = [&] {
            for (const auto& one : pairs) {
                all_put = one.put() && all_put;
            }
        };
        const auto cancel = [&] {
            for (std::size_t i = 0; i < batch; ++i) {
                futures[other_order(i, round)].cancel();
            }
        };
        peer.meet(put, cancel);
        for (auto& future : futures) {
            try {
                future.get();
                ++ready;
            } catch (const operation_cancelled&) {
                ++cancelled;
            }
        }
        // Whatever came first, the byte is there, and the descriptor can be waited for again.
        if (round % 4 == 0) {
            for (const auto& one : pairs) {
                w.run(sincpro::wait_readable(one.ends[0]));
            }
        }
        for (const auto& one : pairs) {
            REQUIRE(one.take());
        }
    }
    CHECK(all_put);
    CHECK(ready + cancelled == batches * batch);
}

#endif
