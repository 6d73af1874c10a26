#include <sincpro/async_worker/cancellation.hpp>

#include <sincpro/async_worker.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/owned_coroutine.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::cancellation_requested;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::yield;
using support::counted;
using support::foreign_lazy;
using support::gate;
using support::lifetimes;
using support::owned_coroutine;
using support::this_thread_number;

task<> sleep_long() { co_await sleep_for(1h); }

/// Every operation of the library, in a form that does not end by itself.
struct operation {
    std::string name;
    std::function<task<>()> wait;
};

#if !defined(_WIN32)
class pipe_without_data {
public:
    pipe_without_data() {
        if (::pipe(ends_.data()) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe");
        }
    }
    pipe_without_data(const pipe_without_data&) = delete;
    pipe_without_data& operator=(const pipe_without_data&) = delete;
    ~pipe_without_data() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    int reader() const { return ends_[0]; }

private:
    std::array<int, 2> ends_{};
};
#endif

std::vector<operation> operations() {
    std::vector<operation> all;
    all.push_back({"sleep_for", []() -> task<> { co_await sleep_for(1h); }});
    all.push_back(
        {"sleep_for a time that never ends", []() -> task<> { co_await sleep_for(std::chrono::hours::max()); }});
    all.push_back(
        {"sleep_until", []() -> task<> { co_await sincpro::sleep_until(std::chrono::steady_clock::now() + 1h); }});
    all.push_back({"when_all", []() -> task<> { co_await sincpro::when_all(sleep_for(1h), sleep_long()); }});
    all.push_back({"when_all of a vector", []() -> task<> {
                       std::vector<task<>> children;
                       children.push_back(sleep_long());
                       children.push_back(sleep_long());
                       co_await sincpro::when_all(std::move(children));
                   }});
    all.push_back({"when_any", []() -> task<> { co_await sincpro::when_any(sleep_for(1h), sleep_long()); }});
    all.push_back({"when_any of a vector", []() -> task<> {
                       std::vector<task<>> children;
                       children.push_back(sleep_long());
                       children.push_back(sleep_long());
                       co_await sincpro::when_any(std::move(children));
                   }});
    all.push_back({"with_timeout", []() -> task<> { co_await sincpro::with_timeout(sleep_long(), 2h); }});
    all.push_back({"acquire", []() -> task<> {
                       sincpro::semaphore empty(0);
                       const auto permit = co_await empty.acquire();
                   }});
    all.push_back({"await_callback", []() -> task<> {
                       std::optional<sincpro::completion<void>> kept;
                       const auto keep = [&kept](sincpro::completion<void> done) { kept.emplace(std::move(done)); };
                       co_await sincpro::await_callback<void>(keep);
                   }});
    all.push_back({"to_thread", []() -> task<> {
                       const auto wait = [] {
                           while (!cancellation_requested()) {
                               std::this_thread::yield();
                           }
                       };
                       co_await sincpro::to_thread(wait);
                   }});
    all.push_back({"to_thread, abandoned", []() -> task<> {
                       const auto wait = [] {
                           while (!cancellation_requested()) {
                               std::this_thread::yield();
                           }
                       };
                       co_await sincpro::to_thread(sincpro::abandon_on_cancel, wait);
                   }});
#if defined(__cpp_lib_jthread)
    all.push_back({"stop_when", []() -> task<> { co_await sincpro::stop_when(sleep_long(), std::stop_token()); }});
#endif
#if !defined(_WIN32)
    all.push_back({"wait_readable", []() -> task<> {
                       const pipe_without_data pipe;
                       co_await sincpro::wait_readable(pipe.reader());
                   }});
#endif
    return all;
}

/// Those that end by themselves as well.
std::vector<operation> all_operations() {
    auto all = operations();
    all.push_back({"yield", []() -> task<> { co_await yield(); }});
    all.push_back({"sleep_for no time", []() -> task<> { co_await sleep_for(0s); }});
    all.push_back({"acquire a free permit", []() -> task<> {
                       sincpro::semaphore one_permit(1);
                       const auto permit = co_await one_permit.acquire();
                   }});
    all.push_back({"await_callback that is called at once", []() -> task<> {
                       const auto call = [](sincpro::completion<void> done) { done(); };
                       co_await sincpro::await_callback<void>(call);
                   }});
    return all;
}

/// Submits a task that runs `body` after it has been cancelled.
template <class Body>
auto run_cancelled(Body body) {
    const gate begun;
    auto future = submit_async_task([&]() -> decltype(body()) {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        co_return co_await body();
    });
    begun.wait();
    future.cancel();
    return future.get();
}

/// Runs a coroutine as another library would: on this thread, and no worker is near.
void drive(foreign_lazy<> coroutine) {
    auto awaiter = std::move(coroutine).operator co_await();
    awaiter.await_suspend(std::noop_coroutine()).resume();
    awaiter.await_resume();
}

}  // namespace

TEST_CASE("a cancelled task leaves the operation that it waits in with operation_cancelled, on its worker thread") {
    for (const auto& one : operations()) {
        INFO(one.name);
        const lifetimes log;
        const gate begun;
        std::int64_t home = 0;
        auto future = submit_async_task([&]() -> task<> {
            const counted local(log);
            home = this_thread_number();
            begun.open();
            co_await one.wait();
        });
        begun.wait();
        future.cancel();
        REQUIRE_THROWS_AS(future.get(), operation_cancelled);
        CHECK(log.alive() == 0);
        CHECK(log.destroyed_on() == home);
    }
}

TEST_CASE("cancellation is sticky: every later operation ends with operation_cancelled too") {
    for (const auto& one : all_operations()) {
        INFO(one.name);
        const int cancelled = run_cancelled([&]() -> task<int> {
            int times = 0;
            for (int i = 0; i < 3; ++i) {
                try {
                    co_await one.wait();
                } catch (const operation_cancelled&) {
                    ++times;
                }
            }
            co_return times;
        });
        CHECK(cancelled == 3);
    }
}

TEST_CASE("a task that swallows operation_cancelled in a loop does not starve others") {
    for (const auto& one : all_operations()) {
        INFO(one.name);
        bool enough = false;
        const gate begun;
        auto stubborn = submit_async_task([&]() -> task<long> {
            begun.open();
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
            }
            long swallowed = 0;
            while (!enough) {
                try {
                    co_await one.wait();
                } catch (const operation_cancelled&) {
                    ++swallowed;
                }
            }
            co_return swallowed;
        });
        begun.wait();
        stubborn.cancel();
        for (int i = 0; i < 20; ++i) {
            run_async_task(sleep_for(10us));
        }
        run_async_task([&]() -> task<> {
            enough = true;
            co_return;
        });
        CHECK(stubborn.get() > 0);
    }
}

TEST_CASE("an operation awaited where no worker runs is not permitted") {
    struct coroutines {
        static foreign_lazy<> await(const operation& one) { co_await one.wait(); }
        static foreign_lazy<> shield() { co_await sincpro::shield(sleep_long()); }
        static foreign_lazy<> bare_sleep() { co_await sleep_for(1ms); }
        static foreign_lazy<> bare_when_all() { co_await sincpro::when_all(sleep_long(), sleep_long()); }
    };
    const auto code_of = [](foreign_lazy<> coroutine) {
        std::error_code code;
        try {
            drive(std::move(coroutine));
        } catch (const std::system_error& e) {
            code = e.code();
        }
        return code;
    };
    for (const auto& one : all_operations()) {
        INFO(one.name);
        CHECK(code_of(coroutines::await(one)) == std::errc::operation_not_permitted);
    }
    CHECK(code_of(coroutines::shield()) == std::errc::operation_not_permitted);
    CHECK(code_of(coroutines::bare_sleep()) == std::errc::operation_not_permitted);
    CHECK(code_of(coroutines::bare_when_all()) == std::errc::operation_not_permitted);
}

TEST_CASE("cancellation_requested tells whether the task that calls it has been cancelled") {
    CHECK_FALSE(cancellation_requested());
    const bool before = run_async_task([]() -> task<bool> { co_return cancellation_requested(); });
    CHECK_FALSE(before);
    struct functions {
        static bool deep() { return cancellation_requested(); }
        static task<bool> child() { co_return deep(); }
        static foreign_lazy<bool> foreign() { co_return co_await child(); }
    };
    CHECK(run_cancelled([]() -> task<bool> { co_return functions::deep(); }));
    CHECK(run_cancelled([]() -> task<bool> { co_return co_await functions::child(); }));
    CHECK(run_cancelled([]() -> task<bool> { co_return co_await functions::foreign(); }));
    const bool of_another = run_async_task([]() -> task<bool> { co_return cancellation_requested(); });
    CHECK_FALSE(of_another);
    CHECK_FALSE(cancellation_requested());
}

TEST_CASE("cancellation_requested belongs to the child that was cancelled, not to its parent") {
    bool child = false;
    const bool parent = run_async_task([&]() -> task<bool> {
        const auto loser = [&]() -> task<> {
            try {
                co_await sleep_for(1h);
            } catch (const operation_cancelled&) {
                child = cancellation_requested();
                throw;
            }
        };
        co_await sincpro::when_any(loser, sleep_for(1ms));
        co_return cancellation_requested();
    });
    CHECK(child);
    CHECK_FALSE(parent);
}

TEST_CASE("code that keeps the worker thread busy sees a cancellation that comes from outside") {
    const gate begun;
    const auto computes = [&]() -> task<bool> {
        begun.open();
        const auto give_up = std::chrono::steady_clock::now() + 10s;
        bool seen = false;
        while (!seen && std::chrono::steady_clock::now() < give_up) {
            seen = cancellation_requested();
        }
        co_return seen;
    };
    auto future = submit_async_task(computes());
    begun.wait();
    future.cancel();
    CHECK(future.get());
}

TEST_CASE("an operation that had completed when the cancellation came keeps its result") {
    int got = 0;
    std::optional<sincpro::completion<int>> done;
    const gate begun;
    auto victim = submit_async_task([&]() -> task<> {
        const auto initiate = [&](sincpro::completion<int> c) {
            done.emplace(std::move(c));
            begun.open();
        };
        got = co_await sincpro::await_callback<int>(initiate);
        co_await sleep_for(1h);
    });
    begun.wait();
    run_async_task([&]() -> task<> {
        (*done)(5);
        victim.cancel();
        co_return;
    });
    CHECK_THROWS_AS(victim.get(), operation_cancelled);
    CHECK(got == 5);
}

TEST_CASE("unwinding goes from the innermost out and waits for the clean-up of each level") {
    struct coroutines {
        static task<> level(int depth, std::string& log) {
            bool cancelled = false;
            try {
                if (depth == 0) {
                    co_await sleep_for(1h);
                } else {
                    co_await level(depth - 1, log);
                }
            } catch (const operation_cancelled&) {
                cancelled = true;
            }
            co_await sincpro::shield(yield());
            log += std::to_string(depth);
            if (cancelled) {
                throw operation_cancelled();
            }
        }
    };
    std::string log;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        co_await coroutines::level(5, log);
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log == "012345");
}

TEST_CASE("a cancelled task that ends with a value or another exception gives that") {
    const auto value = []() -> task<int> { co_return 5; };
    CHECK(run_cancelled(value) == 5);
    const auto failure = []() -> task<int> {
        throw std::runtime_error("mine");
        co_return 0;
    };
    CHECK_THROWS_WITH(run_cancelled(failure), "mine");
}

TEST_CASE("a task that is cancelled before it has begun ends with operation_cancelled") {
    const gate release;
    auto busy = submit_async_task([release]() -> task<> {
        release.wait();
        co_return;
    });
    const lifetimes log;
    const auto sleeps = [](counted) -> task<> { co_await sleep_for(1h); };
    auto future = submit_async_task(sleeps(counted(log)));
    future.cancel();
    release.open();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    CHECK(log.alive() == 0);
    busy.get();
}

TEST_CASE("cancelling as often as one likes, from several threads, is cancelling once") {
    int cancellations = 0;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
            ++cancellations;
        }
        co_await sincpro::shield(sleep_for(2ms));
    });
    begun.wait();
    std::vector<std::thread> cancellers;
    for (int i = 0; i < 4; ++i) {
        cancellers.emplace_back([&] {
            for (int j = 0; j < 100; ++j) {
                future.cancel();
            }
        });
    }
    for (auto& canceller : cancellers) {
        canceller.join();
    }
    future.get();
    CHECK(cancellations == 1);
}

TEST_CASE("cancelling one task does not touch another") {
    std::vector<sincpro::task_future<int>> futures;
    for (int i = 0; i < 100; ++i) {
        futures.push_back(submit_async_task([i]() -> task<int> {
            co_await sleep_for(20ms);
            co_return i;
        }));
    }
    for (std::size_t i = 0; i < futures.size(); i += 2) {
        futures[i].cancel();
    }
    int completed = 0;
    for (std::size_t i = 0; i < futures.size(); ++i) {
        try {
            const int got = futures[i].get();
            CHECK(got == static_cast<int>(i));
            ++completed;
        } catch (const operation_cancelled&) {
            CHECK(i % 2 == 0);
        }
    }
    CHECK(completed >= 50);
}

TEST_CASE("a child that begins in a cancelled parent is cancelled") {
    bool went_on = false;
    const auto parent = [&]() -> task<bool> {
        const auto child = [&]() -> task<> {
            co_await yield();
            went_on = true;
        };
        bool cancelled = false;
        try {
            co_await sincpro::when_all(child, child);
        } catch (const operation_cancelled&) {
            cancelled = true;
        }
        co_return cancelled;
    };
    CHECK(run_cancelled(parent));
    CHECK_FALSE(went_on);
}

// Coroutines of another library, which a task starts and does not wait for.
namespace {

/// Runs at once, and by itself.
struct detached {
    struct promise_type {
        detached get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const { std::terminate(); }
    };
};

sincpro::task<> sleep_twice() {
    co_await sincpro::sleep_for(std::chrono::milliseconds(1));
    co_await sincpro::sleep_for(std::chrono::milliseconds(1));
}

template <class Operation>
detached wait_and_open(Operation make, support::gate opened) {
    co_await make();
    co_await make();
    opened.open();
}

template <class Operation>
owned_coroutine wait_for(Operation make, bool& went_on) {
    static_cast<void>(co_await make());
    went_on = true;
}

template <class Operation>
void outlives_its_task(Operation make) {
    const support::gate went_on;
    struct coroutines {
        static sincpro::task<> leave_alone(Operation make, support::gate went_on) {
            wait_and_open(make, went_on);
            co_return;
        }
    };
    sincpro::run_async_task(coroutines::leave_alone(make, went_on));
    went_on.wait();
}

}  // namespace

TEST_CASE("what another library's coroutine waits for may outlive the task in which it began to wait") {
    outlives_its_task([] { return sincpro::sleep_for(std::chrono::milliseconds(1)); });
    outlives_its_task([] { return sleep_twice(); });
    outlives_its_task([] { return sincpro::yield(); });
    outlives_its_task([] { return sincpro::when_all(sleep_twice(), sincpro::shield(sleep_twice()), sleep_twice()); });
    outlives_its_task([] { return sincpro::with_timeout(sleep_twice(), std::chrono::hours(1)); });
    // Of so many some begin through the loop's queue, when the task has ended.
    for (int i = 0; i < 130; ++i) outlives_its_task([] { return sleep_twice(); });
}

TEST_CASE("what a destructor in the frame of a task begins may outlive the task") {
    const support::gate went_on;
    struct cleans_up {
        explicit cleans_up(support::gate g) : done(g) {}
        cleans_up(cleans_up&& other) noexcept : done(other.done), armed(std::exchange(other.armed, false)) {}
        ~cleans_up() {
            if (armed) wait_and_open([] { return sleep_twice(); }, done);
        }
        support::gate done;
        bool armed = true;
    };
    struct coroutines {
        static sincpro::task<> hold(cleans_up) { co_return; }
    };
    sincpro::run_async_task(coroutines::hold(cleans_up(went_on)));
    went_on.wait();
}

TEST_CASE("a shutdown cancels what other libraries' coroutines wait for") {
    const support::gate begun, ended;
    struct coroutines {
        static detached wait_long(support::gate ended) {
            try {
                co_await sincpro::sleep_for(std::chrono::hours(1));
            } catch (const sincpro::operation_cancelled&) {
            }
            try {
                co_await sincpro::sleep_for(std::chrono::hours(1));
            } catch (const sincpro::operation_cancelled&) {
                ended.open();
            }
        }
        static sincpro::task<> leave_alone(support::gate ended) {
            wait_long(ended);
            co_return;
        }
    };
    sincpro::worker w;
    w.run(coroutines::leave_alone(ended));
    w.shutdown();
    CHECK(ended.is_open());
}

TEST_CASE("a shutdown cancels what another library's coroutine began to wait for in a shield that has ended since") {
    const support::gate begun, cancelled;
    struct coroutines {
        static detached wait_long(support::gate cancelled) {
            try {
                co_await sincpro::when_all(sincpro::sleep_for(std::chrono::hours(1)), sleep_twice());
            } catch (const sincpro::operation_cancelled&) {
                cancelled.open();
            }
        }
        static sincpro::task<> begin_wait(support::gate cancelled) {
            wait_long(cancelled);
            co_return;
        }
        static sincpro::task<> clean_up(support::gate begun, support::gate cancelled) {
            begun.open();
            try {
                co_await sincpro::sleep_for(std::chrono::hours(1));
            } catch (const sincpro::operation_cancelled&) {
            }
            co_await sincpro::shield(begin_wait(cancelled));
        }
    };
    sincpro::worker_options options;
    options.shutdown_grace = std::chrono::milliseconds::max();
    sincpro::worker w(std::move(options));
    auto future = w.submit(coroutines::clean_up(begun, cancelled));
    begun.wait();
    w.shutdown();
    CHECK(cancelled.is_open());
    CHECK_NOTHROW(future.get());
}

TEST_CASE(
    "cancellation_requested is false in another library's coroutine whose task has ended, and in what it waits for") {
    const support::gate went_on;
    bool requested = true;
    struct coroutines {
        static sincpro::task<> ask(bool& requested) {
            co_await sleep_twice();
            requested = requested || sincpro::cancellation_requested();
        }
        static detached ask_later(support::gate went_on, bool& requested) {
            requested = false;
            co_await sincpro::when_all(ask(requested), sincpro::with_timeout(ask(requested), 1h));
            requested = requested || sincpro::cancellation_requested();
            went_on.open();
        }
        static sincpro::task<> leave_alone(support::gate went_on, bool& requested) {
            ask_later(went_on, requested);
            co_return;
        }
    };
    auto future = sincpro::submit_async_task(coroutines::leave_alone(went_on, requested));
    future.wait();
    future.cancel();
    went_on.wait();
    CHECK_FALSE(requested);
}

TEST_CASE("another library's coroutine that is destroyed while it waits for a time is not woken") {
    struct coroutines {
        static sincpro::task<> destroy_each(bool& went_on) {
            for (int i = 0; i < 5; ++i) {
                {
                    const auto waits = wait_for([] { return sincpro::sleep_for(1ms); }, went_on);
                }
                {
                    const auto waits = wait_for([] { return sincpro::with_timeout(sleep_long(), 1ms); }, went_on);
                }
                {
                    const auto waits = wait_for([] { return sincpro::with_timeout(sleep_for(1ms), 2ms); }, went_on);
                }
                co_await sincpro::when_all(sleep_for(3ms), sleep_twice(), sincpro::with_timeout(sleep_twice(), 1h));
            }
        }
    };
    bool went_on = false;
    run_async_task(coroutines::destroy_each(went_on));
    CHECK_FALSE(went_on);
}

TEST_CASE("a suspended coroutine of another library may be destroyed while what it waits for is on its way") {
    struct coroutines {
        static sincpro::task<> complete_elsewhere(bool& went_on) {
            std::thread completing;
            const support::gate suspended;
            {
                const auto initiate = [&](sincpro::completion<> done) {
                    completing = std::thread([done, suspended] {
                        suspended.wait();
                        done();
                    });
                };
                const owned_coroutine waits = wait_for([&] { return sincpro::await_callback<>(initiate); }, went_on);
                suspended.open();
                completing.join();
            }
            co_await sleep_twice();
        }
#if defined(__cpp_lib_jthread)
        static sincpro::task<> stop_elsewhere(bool& went_on) {
            std::stop_source source;
            const auto wait_long = [&] { return sincpro::stop_when(sleep_long(), source.get_token()); };
            {
                const owned_coroutine waits = wait_for(wait_long, went_on);
                std::thread([&] { source.request_stop(); }).join();
            }
            source = std::stop_source();
            const owned_coroutine in_the_same_memory = wait_for(wait_long, went_on);  // mostly
            co_await sleep_twice();
        }
#endif
        static sincpro::task<> permit_elsewhere(bool& went_on) {
            sincpro::semaphore one(1);
            auto permit = std::make_unique<sincpro::semaphore::permit>(co_await one.acquire());
            {
                const owned_coroutine waits = wait_for([&] { return one.acquire(); }, went_on);
                std::thread([&] { permit.reset(); }).join();
            }
            co_await sleep_twice();
            auto again = co_await one.acquire();
            again.release();
        }
    };
    bool went_on = false;
    sincpro::run_async_task(coroutines::complete_elsewhere(went_on));
#if defined(__cpp_lib_jthread)
    sincpro::run_async_task(coroutines::stop_elsewhere(went_on));
#endif
    sincpro::run_async_task(coroutines::permit_elsewhere(went_on));
    CHECK_FALSE(went_on);
}

namespace {

task<> note_that_it_began(bool& begun) {
    begun = true;
    co_await sleep_for(1h);
}

using waits = task<> (*)(bool& begun);

/// `wait`, `depth` tasks deep.
task<> deep(int depth, waits wait, bool& begun) {
    if (depth == 0) {
        co_await wait(begun);
    } else {
        co_await deep(depth - 1, wait, begun);
    }
}

}  // namespace

TEST_CASE("children whose beginning is queued when another library's coroutine is dropped are not begun") {
    struct coroutines {
        static task<> all(bool& begun) { co_await sincpro::when_all(note_that_it_began(begun), sleep_long()); }
        static task<> any(bool& begun) { co_await sincpro::when_any(note_that_it_began(begun), sleep_long()); }
        static task<> timeout(bool& begun) { co_await sincpro::with_timeout(note_that_it_began(begun), 1h); }
        static task<> shielded(bool& begun) { co_await sincpro::shield(note_that_it_began(begun)); }
        static owned_coroutine other_library(int depth, waits wait, bool& begun) { co_await deep(depth, wait, begun); }
        static task<int> drop(waits wait) {
            int queued = 0;
            for (int depth = 0; depth < 70; ++depth) {  // each 32nd level begins its children by the queue
                bool begun = false;
                { const owned_coroutine dropped = other_library(depth, wait, begun); }
                queued += begun ? 0 : 1;
                const bool at_once = begun;
                co_await yield();
                co_await yield();
                CHECK(begun == at_once);
            }
            co_return queued;
        }
    };
    for (const auto wait : {coroutines::all, coroutines::any, coroutines::timeout, coroutines::shielded}) {
        CHECK(run_async_task(coroutines::drop(wait)) >= 2);
    }
}

TEST_CASE(
    "what another library began in a child goes on when another library's coroutine that awaits the child is dropped") {
    struct coroutines {
        static owned_coroutine background(bool& done) {
            co_await sleep_for(3ms);
            done = true;
        }
        static task<> child(std::vector<owned_coroutine>& flows, bool& done) {
            flows.push_back(background(done));
            co_await sleep_for(1h);
        }
        static owned_coroutine other_library(std::vector<owned_coroutine>& flows, bool& done) {
            co_await sincpro::when_all(child(flows, done));
        }
        static task<> drops(bool& done) {
            std::vector<owned_coroutine> flows;
            { const owned_coroutine dropped = other_library(flows, done); }
            while (!done) co_await sleep_for(1ms);
        }
    };
    bool done = false;
    run_async_task(coroutines::drops(done));
    CHECK(done);
}
