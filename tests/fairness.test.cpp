#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <thread>
#include <type_traits>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/owned_coroutine.hpp"
#include "support/scale.hpp"

// A task that awaits nothing but what is ready at once can be cancelled, its timeout holds, and others make progress.

namespace {

using namespace std::chrono_literals;
using sincpro::as_result;
using sincpro::await_callback;
using sincpro::completion;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::semaphore;
using sincpro::shield;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::when_all;
using sincpro::when_any;
using sincpro::with_timeout;
using sincpro::yield;
using support::gate;
using support::owned_coroutine;
using support::sanitized;

task<> nothing() { co_return; }

task<> permits() {
    semaphore free(1);
    for (;;) {
        const auto held = co_await free.acquire();
    }
}
task<> callbacks() {
    const auto call_at_once = [](completion<> done) { done(); };
    for (;;) {
        co_await await_callback<>(call_at_once);
    }
}
task<> callbacks_that_throw() {
    const auto fail = [](const completion<>&) { throw std::logic_error("no operation was begun"); };
    for (;;) {
        try {
            co_await await_callback<>(fail);
        } catch (const std::logic_error&) {
        }
    }
}
task<> tasks() {
    for (;;) {
        co_await nothing();
    }
}
task<> all_of_them() {
    for (;;) {
        co_await when_all(nothing(), nothing());
    }
}
task<> first_of_them() {
    for (;;) {
        co_await when_any(nothing(), nothing());
    }
}
task<> results() {
    for (;;) {
        static_cast<void>(co_await as_result(nothing()));
    }
}
task<> shields() {
    for (;;) {
        co_await shield(nothing());
    }
}
task<> limits() {
    for (;;) {
        co_await with_timeout(nothing(), 1h);
    }
}
task<> limits_that_are_over() {
    for (;;) {
        try {
            co_await with_timeout(nothing(), 0s);
        } catch (const sincpro::timeout_error&) {
        }
    }
}
task<> other_librarys() {
    for (;;) {
        co_await support::ready_awaiter<>();
    }
}
task<> other_librarys_that_do_not_suspend() {
    for (;;) {
        co_await support::refuses_to_suspend<>();
    }
}
#if !defined(_WIN32)
task<> descriptors_that_are_none() {
    for (;;) {
        try {
            co_await sincpro::wait_readable(-1);
        } catch (const operation_cancelled&) {
            throw;
        } catch (const std::system_error&) {
        }
    }
}
#endif
#if defined(__cpp_lib_jthread)
task<> stoppable() {
    std::stop_source source;
    for (;;) {
        co_await sincpro::stop_when(nothing(), source.get_token());
    }
}
#endif

using loop = task<> (*)();
constexpr loop loops[] = {
    permits,
    callbacks,
    callbacks_that_throw,
    tasks,
    all_of_them,
    first_of_them,
    results,
    shields,
    limits,
    limits_that_are_over,
    other_librarys,
    other_librarys_that_do_not_suspend,
#if !defined(_WIN32)
    descriptors_that_are_none,
#endif
#if defined(__cpp_lib_jthread)
    stoppable,
#endif
};

}  // namespace

TEST_CASE("a task that awaits only what is ready can be timed out, and has stopped when its caller goes on") {
    for (const loop& l : loops) {
        INFO(&l - loops);
        try {
            run_async_task(l(), 20ms);
            FAIL("it ended");
        } catch (const sincpro::timeout_error& timeout) {
            if (!sanitized) CHECK(timeout.task_stopped());
        }
        run_async_task(yield());  // and the loop is free again
    }
}

TEST_CASE("a task that awaits only what is ready can be cancelled") {
    for (const loop l : loops) {
        auto future = submit_async_task(l());
        future.cancel();
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
}

TEST_CASE("a task that awaits only what is ready lets others go on") {
    for (const loop l : loops) {
        auto future = submit_async_task(l());
        run_async_task(sleep_for(1ms));
        run_async_task(yield());
        future.cancel();
        CHECK_THROWS_AS(future.get(), operation_cancelled);
    }
}

TEST_CASE("a coroutine of another library that awaits only ready operations of this one lets others go on") {
    struct coroutines {
        static owned_coroutine awaits_permits(const std::atomic<bool>& enough, gate ended) {
            semaphore free(1);
            while (!enough) {
                const auto held = co_await free.acquire();
            }
            ended.open();
        }
        static owned_coroutine awaits_tasks(const std::atomic<bool>& enough, gate ended) {
            while (!enough) {
                co_await nothing();
            }
            ended.open();
        }
        static task<> run(int which, const std::atomic<bool>& enough, gate ended) {
            const owned_coroutine running = which == 0 ? awaits_permits(enough, ended) : awaits_tasks(enough, ended);
            const auto wait = [](const gate& g) { g.wait(); };
            co_await sincpro::to_thread(wait, ended);
        }
    };
    std::atomic<bool> enough{false};
    for (int which = 0; which < 2; ++which) {
        enough = false;
        const gate ended;
        auto future = submit_async_task(coroutines::run(which, enough, ended));
        run_async_task(sleep_for(1ms));
        enough = true;
        future.get();
    }
}

TEST_CASE("a clean-up in a cancelled task has time for thousands of tasks and a thousand shields") {
    const gate begun;
    int tasks_done = 0, shields_done = 0;
    auto future = submit_async_task([&]() -> task<> {
        try {
            begun.open();
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        for (; tasks_done < 10'000; ++tasks_done) co_await nothing();
        for (; shields_done < 500; ++shields_done) co_await shield(nothing());
    });
    begun.wait();
    future.cancel();
    CHECK_NOTHROW(future.get());
    CHECK(tasks_done == 10'000);
    CHECK(shields_done == 500);
}

TEST_CASE("what goes through the loop in its turn keeps its result when the cancellation comes meanwhile") {
    // Of 64 acquisitions in a row one waits in the queue, behind the cancellation.
    for (int before = 0; before < 64; ++before) {
        bool got = false;
        sincpro::task_future<void> own;
        const gate go;
        own = submit_async_task([&]() -> task<> {
            semaphore free(100);
            go.wait();
            own.cancel();
            for (int i = 0; i < before; ++i) auto held = co_await free.acquire();
            const auto held = co_await free.acquire();
            got = true;
        });
        go.open();
        try {
            own.get();
            CHECK(got);
        } catch (const operation_cancelled&) {
            CHECK_FALSE(got);
        }
    }
}

TEST_CASE("however fast other threads submit, timers are looked at between bounded portions") {
    std::atomic<bool> stop{false};
    const auto flood = [&] {
        for (int left = sanitized ? 20'000 : 300'000; left != 0 && !stop; --left) submit_async_task(nothing());
    };
    auto ticks = submit_async_task([]() -> task<std::chrono::steady_clock::duration> {
        auto latest = std::chrono::steady_clock::duration::zero();
        for (int i = 0; i < 20; ++i) {
            const auto due = std::chrono::steady_clock::now() + 5ms;
            co_await sincpro::sleep_until(due);
            latest = (std::max)(latest, std::chrono::steady_clock::now() - due);
        }
        co_return latest;
    });
    std::thread one(flood), other(flood);
    const auto latest = ticks.get();
    stop = true;
    one.join();
    other.join();
    // 50 ms on an idle machine; a busy one may not let the worker run for as long.
    CHECK(latest < (sanitized ? 5s : 1s));
}
