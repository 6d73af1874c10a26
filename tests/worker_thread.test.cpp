#include <sincpro/async_worker/detail/bridge/worker_thread.hpp>

#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/task_future.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"
#include "support/thrown.hpp"

#if !defined(_WIN32)
#include <sys/resource.h>
#endif

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::sleep_for;
using sincpro::task;
using sincpro::worker_options;
using sincpro::worker_stopped;
using sincpro::detail::claim;
using sincpro::detail::clock;
using sincpro::detail::intrusive_ptr;
using sincpro::detail::share;
using sincpro::detail::shared_options;
using sincpro::detail::shared_state;
using sincpro::detail::submitted_task;
using sincpro::detail::worker_thread;
using support::contains;
using support::counted;
using support::gate;
using support::lifetimes;
using support::this_thread_number;
using support::thrown;

constexpr auto for_ever = clock::time_point::max();

/// What the caller keeps of a task that it has handed over.
template <class T>
struct call {
    intrusive_ptr<submitted_task<T>> state;
    std::future<T> future;
    bool accepted = false;
};

/// Hands a reference over, if the thread takes it.
bool hand_over(worker_thread& loop, shared_state& s) {
    auto reference = share(s);
    const bool accepted = loop.submit(s);
    if (accepted) {
        reference.detach();
    }
    return accepted;
}

/// As worker does it. `prepare` may change the call before it is handed over.
template <class T>
call<T> submit(
    worker_thread& loop, task<T> t, const std::function<void(shared_state&)>& prepare = [](shared_state&) {}) {
    call<T> made;
    made.state = intrusive_ptr<submitted_task<T>>(new submitted_task<T>(std::move(t)));
    prepare(*made.state);
    made.future = made.state->get_future();
    made.accepted = hand_over(loop, *made.state);
    return made;
}

intrusive_ptr<worker_thread> start(worker_options options = {}) {
    return worker_thread::start(intrusive_ptr<const shared_options>(new shared_options(std::move(options))));
}

bool is_ready(const std::future<void>& f) {
    return f.wait_until(std::chrono::system_clock::now()) == std::future_status::ready;
}

task<int> give(int n) { co_return n; }
task<> wait_for_ever(gate begun) {
    begun.open();
    co_await sleep_for(std::chrono::hours::max());
}
/// Blocks the loop's thread, as no task should.
task<> block(gate begun, gate go_on) {
    begun.open();
    go_on.wait();
    co_return;
}
task<> keep(counted) { co_return; }

/// A loop that ends with its scope.
class running_loop {
public:
    explicit running_loop(worker_options options = {}) : loop_(start(std::move(options))) {}
    running_loop(const running_loop&) = delete;
    running_loop& operator=(const running_loop&) = delete;
    ~running_loop() { loop_->stop(for_ever); }
    worker_thread* operator->() const { return loop_.get(); }
    worker_thread& operator*() const { return *loop_; }

private:
    intrusive_ptr<worker_thread> loop_;
};

/// Options that tell when the loop that has them is gone.
worker_options with(const lifetimes& log) {
    worker_options options;
    options.on_unobserved_exception = [c = counted(log)](std::exception_ptr) {};
    return options;
}

}  // namespace

TEST_CASE("a loop runs what is submitted on its thread until it is stopped") {
    std::int64_t there = 0;
    {
        const running_loop loop;
        auto first = submit(*loop, give(1));
        CHECK(first.accepted);
        CHECK(first.future.get() == 1);
        CHECK(first.state->claimed_by() == claim::value);
        submit(*loop,
               [](std::int64_t& n) -> task<> {
                   n = this_thread_number();
                   co_return;
               }(there))
            .future.get();
        CHECK(there != this_thread_number());
        loop->stop(for_ever);
        loop->stop(for_ever);
        loop->stop(clock::now());
    }
#if defined(__linux__)
    CHECK(support::thread_ends(there));
#endif
}

TEST_CASE("a loop that has ended refuses tasks and leaves them to the caller") {
    const lifetimes log;
    {
        const running_loop loop;
        loop->stop(for_ever);
        auto late = submit(*loop, keep(counted(log)));
        CHECK_FALSE(late.accepted);
        CHECK(log.alive() == 1);
        CHECK(late.state->claimed_by() == claim::open);
        // It can be handed to another loop as it is.
        const running_loop other;
        CHECK(hand_over(*other, *late.state));
        CHECK_NOTHROW(late.future.get());
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("stop cancels every task, begun or not, and returns when they have unwound") {
    const lifetimes log;
    const gate begun;
    auto loop = start();
    auto waiting = submit(*loop, [](gate b, lifetimes l) -> task<> {
        const counted c(l);
        co_await wait_for_ever(b);
    }(begun, log));
    begun.wait();
    // On the loop's own thread tasks do not come through the queue of other threads.
    auto nested = submit(*loop, [](worker_thread& on, gate b) -> task<call<void>> {
        co_return submit(on, wait_for_ever(b));
    }(*loop, gate()));
    auto inner = nested.future.get();
    loop->stop(for_ever);
    CHECK(log.alive() == 0);
    CHECK(is_ready(waiting.future));
    CHECK(is_ready(inner.future));
    CHECK_THROWS_AS(waiting.future.get(), operation_cancelled);
    CHECK_THROWS_AS(inner.future.get(), operation_cancelled);
}

TEST_CASE("a task that stands behind a stop is not begun") {
    const lifetimes log;
    const gate begun, go_on;
    const running_loop loop;
    auto blocking = submit(*loop, block(begun, go_on));
    begun.wait();
    std::thread stopping([&] { loop->stop(for_ever); });
    // The request to stop is in the queue soon, wherever that is between these.
    std::vector<call<void>> behind;
    for (int i = 0; i < 100; ++i) {
        behind.push_back(submit(*loop, [](lifetimes l) -> task<> {
            const counted c(l);
            co_await sleep_for(1h);
        }(log)));
        std::this_thread::yield();
    }
    go_on.open();
    stopping.join();
    for (auto& b : behind) {
        REQUIRE(b.accepted);
        REQUIRE(is_ready(b.future));
        CHECK_THROWS_AS(b.future.get(), operation_cancelled);
    }
    CHECK_NOTHROW(blocking.future.get());
    CHECK(log.alive() == 0);
}

TEST_CASE("several threads may stop a loop, and each returns when it has ended") {
    for (int round = 0; round < 20; ++round) {
        const gate begun;
        const auto loop = start();
        auto waiting = submit(*loop, wait_for_ever(begun));
        std::vector<std::thread> all;
        std::atomic<int> too_early{0};
        for (int i = 0; i < 3; ++i) {
            all.emplace_back([&] {
                loop->stop(for_ever);
                too_early += !is_ready(waiting.future);
            });
        }
        for (std::thread& t : all) {
            t.join();
        }
        REQUIRE(too_early == 0);
        CHECK_THROWS_AS(waiting.future.get(), operation_cancelled);
    }
}

TEST_CASE(
    "a stop that does not wait for a stuck thread any longer releases every caller, and the thread keeps what it "
    "needs") {
    const lifetimes log, loops;
    const gate begun, go_on;
    call<void> stuck, not_begun, late;
    {
        auto loop = start(with(loops));
        stuck =
            submit(*loop, [](gate b, gate g, counted) -> task<> { co_await block(b, g); }(begun, go_on, counted(log)));
        begun.wait();
        not_begun = submit(*loop, keep(counted(log)));
        loop->stop(clock::now());
        CHECK(stuck.state->claimed_by() == claim::shutdown);
        CHECK(not_begun.state->claimed_by() == claim::shutdown);
        CHECK_THROWS_AS(stuck.future.get(), worker_stopped);
        CHECK_THROWS_AS(not_begun.future.get(), worker_stopped);
        // Nobody will stop it a second time, so what comes now is released at once.
        late = submit(*loop, keep(counted(log)));
        REQUIRE(late.accepted);
        CHECK_THROWS_AS(late.future.get(), worker_stopped);
        CHECK(log.alive() == 3);
        stuck.state = not_begun.state = late.state = {};
    }
    CHECK(loops.alive() != 0);
    go_on.open();
    CHECK(log.wait_until_gone());
    CHECK(loops.wait_until_gone());
    CHECK(log.destroyed_on() != this_thread_number());
}

TEST_CASE("a stop that stops waiting while the loop ends loses no task") {
    // What is in the queue is visited just then; tests/model explores every order.
    const int rounds = TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER ? 1'000 : 20'000;
    const lifetimes objects;
    for (int round = 0; round < rounds; ++round) {
        const auto loop = start();
        std::thread submitting([&] {
            for (int i = 0; i < 3; ++i) submit(*loop, keep(counted(objects)));
        });
        loop->stop(clock::now());
        submitting.join();
    }
    CHECK(objects.wait_until_gone(5s));
}

TEST_CASE("a loop is gone when it has ended and nobody refers to it any more") {
    const lifetimes loops;
    {
        const running_loop loop(with(loops));
        auto first = submit(*loop, give(1));
        CHECK(first.future.get() == 1);
        CHECK(loops.alive() > 0);
    }
    CHECK(loops.wait_until_gone());
    call<int> kept;
    {
        const running_loop loop(with(loops));
        kept = submit(*loop, give(2));
        CHECK(kept.future.get() == 2);
    }
    CHECK(loops.alive() > 0);  // a call can still be cancelled, in vain
    kept.state->request_cancel();
    kept.state = {};
    CHECK(loops.wait_until_gone());
}

TEST_CASE("stop_without_waiting does not wait, and can be called on the loop's own thread") {
    const lifetimes loops;
    const gate begun;
    auto loop = start(with(loops));
    auto waiting = submit(*loop, wait_for_ever(begun));
    auto stopping = submit(*loop, [](worker_thread& on) -> task<> {
        on.stop_without_waiting(clock::now() + 1min);
        // Cancelled from now on, like all the others.
        co_await sleep_for(1h);
    }(*loop));
    CHECK_THROWS_AS(stopping.future.get(), operation_cancelled);
    CHECK_THROWS_AS(waiting.future.get(), operation_cancelled);
    waiting.state = stopping.state = {};
    loop = {};
    CHECK(loops.wait_until_gone());
}

TEST_CASE("a task whose cancellation was requested before it began is not begun") {
    const lifetimes log;
    const running_loop loop;
    auto cancelled = submit(*loop, keep(counted(log)), [](shared_state& c) { c.mark_cancelled(); });
    CHECK_THROWS_AS(cancelled.future.get(), operation_cancelled);
    CHECK(log.alive() == 0);
}

TEST_CASE("a result is published for its caller, for one that has asked to cancel, but not after a shutdown") {
    const running_loop loop;
    const auto claimed_by = [](claim by) { return [by](shared_state& c) { c.take_claim(claim::open, by); }; };
    auto wanted = submit(*loop, give(1));
    auto timed_out = submit(*loop, give(2), claimed_by(claim::deadline));
    CHECK(wanted.future.get() == 1);
    CHECK(timed_out.future.get() == 2);
    auto ended = submit(*loop, give(3), claimed_by(claim::shutdown));
    ended.state = {};
    CHECK_THROWS_AS(ended.future.get(), std::future_error);  // whoever claims it publishes something himself
}

TEST_CASE("an exception that nobody gets is reported, unless somebody wanted it") {
    std::vector<std::string> reported;
    worker_options options;
    SECTION("to the function of the options") {
        options.on_unobserved_exception = [&](std::exception_ptr e) {
            reported.push_back(thrown<std::runtime_error>([&] {
                                   std::rethrow_exception(e);
                                   return 0;
                               }).what());
        };
        const running_loop loop(options);
        loop->report_unobserved(std::make_exception_ptr(std::runtime_error("first")));
        loop->report_unobserved(std::make_exception_ptr(operation_cancelled()));
        loop->report_unobserved(std::make_exception_ptr(worker_stopped()));
        loop->report_unobserved(std::make_exception_ptr(std::runtime_error("second")));
        CHECK(reported == std::vector<std::string>{"first", "second"});
    }
    SECTION("which may throw") {
        options.on_unobserved_exception = [&](std::exception_ptr e) {
            reported.emplace_back();
            std::rethrow_exception(e);
        };
        const running_loop loop(options);
        loop->report_unobserved(std::make_exception_ptr(1));
        CHECK(reported.size() == 1);
    }
    SECTION("which need not be there") {
        const running_loop loop;
        loop->report_unobserved(std::make_exception_ptr(std::runtime_error("unheard")));
        CHECK(reported.empty());
    }
}

TEST_CASE("end_calls may be for those who are blocked only") {
    const gate begun, go_on;
    const support::opens_at_exit release(go_on);
    const running_loop loop;
    auto blocking = submit(*loop, block(begun, go_on));
    begun.wait();
    auto submitted = submit(*loop, give(1));
    auto run = submit(*loop, give(2), [](shared_state& c) { c.blocks_caller = true; });
    auto run_by_main = submit(*loop, give(3), [](shared_state& c) { c.blocks_caller = c.blocks_main_thread = true; });
    SECTION("on the main thread itself, which may go on") {
        loop->end_calls(worker_thread::which::blocked_in_run);
        CHECK_THROWS_AS(run.future.get(), worker_stopped);
        CHECK_THROWS_AS(run_by_main.future.get(), worker_stopped);
    }
#if !TESTS_WITH_ADDRESS_SANITIZER
    SECTION("on another one, while the process ends: nothing wakes the main thread, so something is left behind") {
        loop->keep_main_thread_blocked();
        loop->end_calls(worker_thread::which::blocked_in_run);
        CHECK_THROWS_AS(run.future.get(), worker_stopped);
        CHECK(run_by_main.state->claimed_by() == claim::open);
    }
#endif
    CHECK(submitted.state->claimed_by() == claim::open);
    CHECK(blocking.state->claimed_by() == claim::open);
    go_on.open();
    CHECK(submitted.future.get() == 1);
    CHECK_NOTHROW(blocking.future.get());
}

TEST_CASE("a task on the loop's own thread may end the calls of those in the queue, which then end there") {
    const gate begun, go_on;
    const support::opens_at_exit release(go_on);
    const running_loop loop;
    auto ending = submit(*loop, [](worker_thread& l, gate b, gate g) -> task<> {
        b.open();
        g.wait();
        l.end_calls(worker_thread::which::blocked_in_run);
        co_return;
    }(*loop, begun, go_on));
    begun.wait();
    auto submitted = submit(*loop, give(1));
    auto run = submit(*loop, give(2), [](shared_state& c) { c.blocks_caller = true; });
    go_on.open();
    CHECK_THROWS_AS(run.future.get(), worker_stopped);
    CHECK(submitted.future.get() == 1);
    CHECK_NOTHROW(ending.future.get());
}

TEST_CASE("dump lists the tasks, and says so when the thread is busy") {
    const gate begun, go_on;
    const support::opens_at_exit release(go_on);
    worker_options options;
    options.name = "dumped";
    {
        const running_loop loop(options);
        CHECK(loop->dump() == "worker \"dumped\": 0 tasks\n");
        auto waiting = submit(*loop, wait_for_ever(gate()));
        CHECK_THAT(loop->dump(), contains("1 task\n") && contains("wait_for_ever"));
        auto inside = submit(*loop, [](worker_thread& on) -> task<std::string> { co_return on.dump(); }(*loop));
        CHECK_THAT(inside.future.get(), contains("2 tasks\n") && contains("wait_for_ever"));
        auto blocking = submit(*loop, block(begun, go_on));
        begun.wait();
        CHECK(loop->describe_busy(*blocking.state) == "it runs without suspending");
        CHECK(loop->describe_busy(*waiting.state) == "the worker thread is busy with another task");
        CHECK_THAT(loop->dump(), contains("does not answer") && contains("wait_for_ever"));
        go_on.open();
        blocking.future.get();
        loop->stop(for_ever);
        CHECK(loop->dump().empty());
        CHECK(loop->describe_busy(*blocking.state).empty());
    }
}

// UBSan looks at memory through a pipe, which it cannot open there either.
#if defined(__linux__) && !TESTS_WITH_ADDRESS_SANITIZER
namespace {

/// Lets the process open no further descriptor while it lives.
class no_more_descriptors {
public:
    no_more_descriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit now = before_;
        now.rlim_cur = 0;
        ::setrlimit(RLIMIT_NOFILE, &now);
    }
    no_more_descriptors(const no_more_descriptors&) = delete;
    no_more_descriptors& operator=(const no_more_descriptors&) = delete;
    ~no_more_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("a loop that cannot be started is a system_error, and leaves nothing behind") {
    const lifetimes loops;
    const worker_options options = with(loops);
    const int before = loops.alive();
    std::exception_ptr error;
    {
        const no_more_descriptors limit;
        error = support::thrown_by([&] { return start(options); });
    }
    REQUIRE(error);
    CHECK(thrown<std::system_error>([&]() -> int { std::rethrow_exception(error); }).code() ==
          std::errc::too_many_files_open);
    CHECK(loops.alive() == before);
    const running_loop works_again(options);
    CHECK(submit(*works_again, give(1)).future.get() == 1);
}
#endif
