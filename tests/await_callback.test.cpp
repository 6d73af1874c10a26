#include <sincpro/async_worker/await_callback.hpp>

#include <sincpro/async_worker.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/owned_coroutine.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::await_callback;
using sincpro::completion;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::yield;
using support::a_million;
using support::counted;
using support::gate;
using support::lifetimes;
using support::this_thread_number;

static_assert(std::is_copy_constructible_v<completion<int>>);
static_assert(std::is_copy_constructible_v<completion<std::unique_ptr<int>>>);
static_assert(std::is_copy_assignable_v<completion<void>>);

// Other libraries ask how a handler can be called, and choose an overload by the answer.
static_assert(std::is_invocable_v<completion<int>, long> && !std::is_invocable_v<completion<int>, std::string>);
static_assert(!std::is_invocable_v<completion<int>> && !std::is_invocable_v<completion<int>, int, int>);
static_assert(std::is_invocable_v<completion<void>> && !std::is_invocable_v<completion<void>, int>);
static_assert(std::is_invocable_v<completion<int&>, int&> && !std::is_invocable_v<completion<int&>, int>);
static_assert(!std::is_convertible_v<completion<int>, std::function<void(std::string)>>);

struct without_default {
    explicit without_default(int v) : value(v) {}
    int value;
};

/// A C library: keeps one callback and its argument.
template <class T>
class callback_library {
public:
    void begin(completion<T> done) {
        done_.emplace(std::move(done));
        begun_.open();
    }
    void wait_until_begun() const { begun_.wait(); }
    completion<T>& kept() { return *done_; }
    void forget() { done_.reset(); }

private:
    std::optional<completion<T>> done_;
    gate begun_;
};

template <class T>
task<T> call(callback_library<T>& library) {
    const auto initiate = [&](completion<T> done) { library.begin(std::move(done)); };
    co_return co_await await_callback<T>(initiate);
}

/// The same, and the library is told when the task is cancelled.
template <class T, class OnCancel>
task<T> call(callback_library<T>& library, OnCancel on_cancel) {
    const auto initiate = [&](completion<T> done) {
        done.on_cancel(on_cancel);
        library.begin(std::move(done));
    };
    co_return co_await await_callback<T>(initiate);
}

template <class Future>
std::string outcome(Future& future) {
    try {
        future.get();
    } catch (const operation_cancelled&) {
        return "cancelled";
    } catch (const std::future_error& e) {
        return e.code() == std::future_errc::broken_promise ? "broken promise" : "another future_error";
    } catch (const std::exception& e) {
        return e.what();
    }
    return "completed";
}

}  // namespace

TEST_CASE("a completion may be called before initiate returns") {
    bool taken = false;
    const auto initiate = [&](completion<int> done) { taken = done(5); };
    CHECK(run_async_task(await_callback<int>(initiate)) == 5);
    CHECK(taken);
    const auto initiate_void = [&](completion<void> done) { taken = done(); };
    taken = false;
    run_async_task(await_callback<void>(initiate_void));
    CHECK(taken);
}

TEST_CASE("a completion may be called later, on the worker thread") {
    callback_library<int> library;
    const auto complete = [&]() -> task<bool> {
        co_await yield();
        co_return library.kept()(5);
    };
    const auto results = run_async_task(sincpro::when_all(call(library), complete()));
    CHECK(std::get<0>(results) == 5);
    CHECK(std::get<1>(results));
}

TEST_CASE("a completion may be called from any thread, and the task goes on on its worker thread") {
    callback_library<int> library;
    std::int64_t before = 0;
    std::int64_t after = 0;
    auto future = submit_async_task([&]() -> task<int> {
        before = this_thread_number();
        const int result = co_await call(library);
        after = this_thread_number();
        co_return result;
    });
    library.wait_until_begun();
    CHECK(library.kept()(5));
    CHECK(future.get() == 5);
    CHECK(before == after);
    CHECK(before != this_thread_number());

    const auto on_new_thread = [](completion<int> done) { std::thread([done]() mutable { done(6); }).detach(); };
    CHECK(run_async_task(await_callback<int>(on_new_thread)) == 6);
}

TEST_CASE("initiate runs on the worker thread, once, when it is awaited") {
    int calls = 0;
    std::int64_t on = 0;
    const auto initiate = [&](completion<void> done) {
        ++calls;
        on = this_thread_number();
        done();
    };
    const std::int64_t home = run_async_task([&]() -> task<std::int64_t> {
        auto operation = await_callback<void>(initiate);
        CHECK(calls == 0);
        co_await std::move(operation);
        co_return this_thread_number();
    });
    CHECK(calls == 1);
    CHECK(on == home);
}

TEST_CASE("only the first call counts, all later ones return false") {
    bool first = false;
    bool second = true;
    bool third = true;
    const auto initiate = [&](completion<int> done) {
        auto copy = done;
        first = done(1);
        second = done(2);
        third = copy.fail(std::make_exception_ptr(std::runtime_error("late")));
    };
    CHECK(run_async_task(await_callback<int>(initiate)) == 1);
    CHECK(first);
    CHECK_FALSE(second);
    CHECK_FALSE(third);

    callback_library<int> library;
    auto future = submit_async_task(call(library));
    library.wait_until_begun();
    CHECK(library.kept()(3));
    CHECK(future.get() == 3);
    CHECK_FALSE(library.kept()(4));
    CHECK_FALSE(library.kept().fail(std::make_exception_ptr(std::runtime_error("late"))));
}

TEST_CASE("of many threads that call a completion exactly one is told that it counts") {
    for (int round = 0; round < 200; ++round) {
        callback_library<int> library;
        auto future = submit_async_task(call(library));
        library.wait_until_begun();
        std::atomic<int> counted_calls{0};
        std::atomic<int> winner{-1};
        std::vector<std::thread> callers;
        for (int i = 0; i < 4; ++i) {
            callers.emplace_back([&, i, done = library.kept()]() mutable {
                if (done(i)) {
                    ++counted_calls;
                    winner = i;
                }
            });
        }
        for (auto& caller : callers) {
            caller.join();
        }
        REQUIRE(counted_calls == 1);
        REQUIRE(future.get() == winner);
    }
}

TEST_CASE("a completion gives references, move-only and not default-constructible results") {
    int there = 1;
    const auto give_reference = [&](completion<int&> done) { done(there); };
    CHECK(&run_async_task(await_callback<int&>(give_reference)) == &there);
    const auto give_pointer = [](completion<std::unique_ptr<int>> done) { done(std::make_unique<int>(2)); };
    CHECK(*run_async_task(await_callback<std::unique_ptr<int>>(give_pointer)) == 2);
    const auto give_odd = [](completion<without_default> done) { done(without_default(3)); };
    CHECK(run_async_task(await_callback<without_default>(give_odd)).value == 3);
    const auto give_text = [](completion<std::string> done) { done("converted"); };
    CHECK(run_async_task(await_callback<std::string>(give_text)) == "converted");
}

TEST_CASE("a result is destroyed once, whether the task took it or not") {
    const lifetimes log;
    const auto initiate = [&](completion<counted> done) {
        done(counted(log));
        done(counted(log));
    };
    run_async_task([&]() -> task<> { const counted taken = co_await await_callback<counted>(initiate); });
    CHECK(log.wait_until_gone());
    CHECK(log.copied() == 0);

    callback_library<counted> library;
    auto future = submit_async_task(call(library));
    library.wait_until_begun();
    future.cancel();
    CHECK(outcome(future) == "cancelled");
    CHECK_FALSE(library.kept()(counted(log)));
    CHECK(log.wait_until_gone());
}

TEST_CASE("fail makes the co_await throw the same exception") {
    const auto error = std::make_exception_ptr(std::runtime_error("from the library"));
    const auto initiate = [&](completion<int> done) { CHECK(done.fail(error)); };
    std::exception_ptr caught;
    try {
        run_async_task(await_callback<int>(initiate));
    } catch (...) {
        caught = std::current_exception();
    }
    CHECK(caught == error);
}

TEST_CASE("what initiate throws is thrown by the co_await") {
    const auto throws = [](completion<int>) { throw std::runtime_error("initiate"); };
    CHECK_THROWS_WITH(run_async_task(await_callback<int>(throws)), "initiate");

    std::optional<completion<int>> kept;
    const auto keeps_and_throws = [&](completion<int> done) {
        kept.emplace(done);
        throw std::runtime_error("initiate");
    };
    CHECK_THROWS_WITH(run_async_task(await_callback<int>(keeps_and_throws)), "initiate");
    CHECK_FALSE((*kept)(1));

    const auto sets_on_cancel_and_throws = [](completion<int> done) {
        done.on_cancel([done] { done(1); });
        throw std::runtime_error("initiate");
    };
    CHECK_THROWS_WITH(run_async_task(await_callback<int>(sets_on_cancel_and_throws)), "initiate");
}

TEST_CASE("dropping every copy without a call resumes the task with a broken promise") {
    const auto drops = [](completion<int>) {};
    CHECK_THROWS_AS(run_async_task(await_callback<int>(drops)), std::future_error);

    callback_library<int> library;
    auto future = submit_async_task(call(library));
    library.wait_until_begun();
    auto copy = std::make_unique<completion<int>>(library.kept());
    library.forget();
    run_async_task(yield());
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    copy.reset();
    CHECK(outcome(future) == "broken promise");
}

TEST_CASE("a completion that is kept keeps neither the value nor the exception that it brought") {
    const lifetimes log;
    callback_library<counted> values;
    auto value = submit_async_task(call(values));
    values.wait_until_begun();
    REQUIRE(values.kept()(counted(log)));
    value.get();
    CHECK(log.alive() == 0);
    callback_library<int> errors;
    auto error = submit_async_task(call(errors));
    errors.wait_until_begun();
    REQUIRE(errors.kept().fail(std::make_exception_ptr(counted(log))));
    CHECK_THROWS_AS(error.get(), counted);
    CHECK(log.alive() == 0);
}

TEST_CASE("dropping the last copy on another thread resumes the task with a broken promise") {
    for (int i = 0; i < 200; ++i) {
        callback_library<int> library;
        auto future = submit_async_task(call(library));
        library.wait_until_begun();
        std::thread([moved = std::move(library.kept())] {}).detach();
        library.forget();
        REQUIRE(outcome(future) == "broken promise");
    }
}

TEST_CASE("assigning to a completion lets go of the one that it was") {
    callback_library<int> first, second;
    auto one = submit_async_task(call(first));
    auto two = submit_async_task(call(second));
    first.wait_until_begun();
    second.wait_until_begun();
    first.kept() = second.kept();
    CHECK(outcome(one) == "broken promise");
    CHECK(first.kept()(2));
    CHECK(two.get() == 2);
}

TEST_CASE("a completion that was moved from does nothing, nor do its copies") {
    const auto says_no = [](auto done, auto... value) {
        auto moved = std::move(done);
        const auto copy = done;
        bool dropped_hook_ran = false;
        CHECK_FALSE(copy(value...));
        CHECK_FALSE(copy.fail(std::make_exception_ptr(std::runtime_error("unheard"))));
        CHECK_FALSE(copy.on_cancel([&] { dropped_hook_ran = true; }));
        CHECK_FALSE(dropped_hook_ran);
        CHECK(moved(value...));
        CHECK_FALSE(moved.on_cancel([&] { dropped_hook_ran = true; }));
    };
    int target = 3;
    const auto value = [&](completion<int> done) { says_no(std::move(done), 1); };
    CHECK(run_async_task(await_callback<int>(value)) == 1);
    const auto nothing = [&](completion<void> done) { says_no(std::move(done)); };
    run_async_task(await_callback<void>(nothing));
    const auto reference = [&](completion<int&> done) { says_no(std::move(done), std::ref(target)); };
    CHECK(&run_async_task(await_callback<int&>(reference)) == &target);
}

TEST_CASE("a cancelled task goes on at once, and calls after that return false") {
    callback_library<int> library;
    auto future = submit_async_task(call(library));
    library.wait_until_begun();
    future.cancel();
    CHECK(outcome(future) == "cancelled");
    CHECK_FALSE(library.kept()(5));
    CHECK_FALSE(library.kept().fail(std::make_exception_ptr(std::runtime_error("late"))));
    library.forget();
}

TEST_CASE("in a task that is cancelled already initiate is not called") {
    bool called = false;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        const auto initiate = [&](completion<void> done) {
            called = true;
            done();
        };
        co_await await_callback<void>(initiate);
    });
    begun.wait();
    future.cancel();
    CHECK(outcome(future) == "cancelled");
    CHECK_FALSE(called);
}

TEST_CASE("a value that was given before the cancellation is kept") {
    callback_library<int> library;
    int got = 0;
    auto future = submit_async_task([&]() -> task<> {
        got = co_await call(library);
        co_await sleep_for(1h);
    });
    library.wait_until_begun();
    run_async_task([&]() -> task<> {
        CHECK(library.kept()(5));
        future.cancel();
        co_return;
    });
    CHECK(outcome(future) == "cancelled");
    CHECK(got == 5);
}

TEST_CASE("on_cancel runs on the worker thread when the task is cancelled, once") {
    callback_library<int> library;
    std::atomic<int> aborts{0};
    std::atomic<std::int64_t> on{0};
    const gate aborted;
    auto future = submit_async_task(call(library, [&, aborted] {
        ++aborts;
        on = this_thread_number();
        aborted.open();
    }));
    const auto home = run_async_task([]() -> task<std::int64_t> { co_return this_thread_number(); });
    library.wait_until_begun();
    future.cancel();
    future.cancel();
    aborted.wait();
    library.forget();
    CHECK(outcome(future) == "cancelled");
    CHECK(aborts == 1);
    CHECK(on == home);
}

TEST_CASE("with on_cancel a cancelled task resumes only when the completion is called") {
    callback_library<int> library;
    const gate aborted;
    bool frame_alive = true;
    auto future = submit_async_task([&]() -> task<> {
        struct notes_end {
            ~notes_end() { flag = false; }
            bool& flag;
        };
        const notes_end at_end{frame_alive};
        const auto abort = [&aborted] { aborted.open(); };
        co_await call(library, abort);
    });
    library.wait_until_begun();
    future.cancel();
    aborted.wait();
    run_async_task(yield());
    CHECK(frame_alive);
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    CHECK(library.kept()(5));
    CHECK(outcome(future) == "completed");
    CHECK_FALSE(frame_alive);
}

TEST_CASE("a value that comes although the operation was asked to abort is the result") {
    callback_library<int> library;
    const gate aborted;
    int got = 0;
    auto future = submit_async_task([&]() -> task<> {
        const auto abort = [&aborted] { aborted.open(); };
        got = co_await call(library, abort);
        co_await yield();
    });
    library.wait_until_begun();
    future.cancel();
    aborted.wait();
    CHECK(library.kept()(5));
    CHECK_FALSE(library.kept()(6));
    CHECK(outcome(future) == "cancelled");  // by the next operation
    CHECK(got == 5);
}

TEST_CASE("the on_cancel hook runs inside its task: it sees the cancellation, and what it begins is part of the task") {
    callback_library<int> library;
    bool requested = false, began = false;
    const auto begins = [&]() -> support::owned_coroutine {
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
            began = true;
            library.forget();
        }
    };
    std::optional<support::owned_coroutine> in_hook;
    auto future = submit_async_task(call(library, [&] {
        requested = sincpro::cancellation_requested();
        in_hook.emplace(begins());
    }));
    library.wait_until_begun();
    future.cancel();
    CHECK(outcome(future) == "cancelled");
    CHECK(requested);
    CHECK(began);
}

TEST_CASE("with on_cancel a cancelled task resumes when the completion is dropped") {
    callback_library<int> library;
    const gate aborted;
    auto future = submit_async_task(call(library, [aborted] { aborted.open(); }));
    library.wait_until_begun();
    future.cancel();
    aborted.wait();
    run_async_task(yield());
    CHECK(future.wait_for(0s) == std::future_status::timeout);
    library.forget();
    CHECK(outcome(future) == "cancelled");
}

TEST_CASE("fail without an exception makes the co_await throw std::logic_error") {
    const auto initiate = [](completion<int> done) { CHECK(done.fail(std::current_exception())); };
    CHECK_THROWS_AS(run_async_task(await_callback<int>(initiate)), std::logic_error);
}

TEST_CASE("with on_cancel a cancelled task resumes when the completion reports a failure") {
    callback_library<int> library;
    const gate aborted;
    auto future = submit_async_task(call(library, [aborted] { aborted.open(); }));
    library.wait_until_begun();
    future.cancel();
    aborted.wait();
    library.kept().fail(std::make_exception_ptr(std::runtime_error("aborted")));
    CHECK(outcome(future) == "cancelled");
}

TEST_CASE("on_cancel may call or drop the completion itself, as a library that aborts synchronously does") {
    callback_library<int> library;
    auto calls = submit_async_task(call(library, [&] { library.kept()(5); }));
    library.wait_until_begun();
    calls.cancel();
    CHECK(outcome(calls) == "completed");

    callback_library<int> another;
    auto drops = submit_async_task(call(another, [&] { another.forget(); }));
    another.wait_until_begun();
    drops.cancel();
    CHECK(outcome(drops) == "cancelled");
}

TEST_CASE("on_cancel does not run when the completion was called first") {
    callback_library<int> library;
    bool aborted = false;
    auto future = submit_async_task([&]() -> task<int> {
        const auto abort = [&] { aborted = true; };
        const int got = co_await call(library, abort);
        try {
            co_await sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        co_return got;
    });
    library.wait_until_begun();
    CHECK(library.kept()(5));
    run_async_task(yield());
    future.cancel();
    CHECK(future.get() == 5);
    CHECK_FALSE(aborted);
}

TEST_CASE("what on_cancel and initiate own is destroyed, also if they own the completion") {
    const lifetimes log;
    {
        callback_library<int> library;
        auto future = submit_async_task([&]() -> task<int> {
            const auto initiate = [&library, held = counted(log)](completion<int> done) {
                done.on_cancel([done, held_too = held]() mutable { done(0); });
                library.begin(done);
            };
            co_return co_await await_callback<int>(initiate);
        });
        library.wait_until_begun();
        CHECK(library.kept()(5));
        CHECK(future.get() == 5);
        library.forget();
        CHECK(log.wait_until_gone());
    }
    {
        callback_library<int> library;
        auto future = submit_async_task([&]() -> task<int> {
            const auto initiate = [&library, held = counted(log)](completion<int> done) {
                done.on_cancel([done, held_too = held]() mutable { done(0); });
                library.begin(done);
            };
            co_return co_await await_callback<int>(initiate);
        });
        library.wait_until_begun();
        future.cancel();
        CHECK(outcome(future) == "completed");
        library.forget();
        CHECK(log.wait_until_gone());
    }
}

TEST_CASE("a completion may outlive its task and its worker") {
    callback_library<int> library;
    {
        sincpro::worker short_lived;
        auto future = short_lived.submit(call(library));
        library.wait_until_begun();
        short_lived.shutdown();
        CHECK(outcome(future) == "cancelled");
    }
    auto copy = library.kept();
    CHECK_FALSE(copy(5));
    CHECK_FALSE(copy.fail(std::make_exception_ptr(std::runtime_error("late"))));
    library.forget();
}

TEST_CASE("a call that comes after another library's coroutine that waits for it was destroyed has no effect") {
    struct coroutines {
        static support::owned_coroutine wait(callback_library<int>& library) { co_await call(library); }
        static support::owned_coroutine wait_itself(callback_library<int>& library) {
            const auto initiate = [&](completion<int> done) { library.begin(std::move(done)); };
            co_await await_callback<int>(initiate);
        }
        static task<bool> call_later() {
            callback_library<int> first, second;
            {
                const auto waits = wait(first);
                const auto waits_itself = wait_itself(second);
            }
            const bool one = first.kept()(1);
            const bool other = second.kept()(2);
            co_await yield();
            co_return one || other;
        }
    };
    CHECK_FALSE(run_async_task(coroutines::call_later()));
}

TEST_CASE("a call that comes after the cancellation has no effect, wherever the two meet") {
    for (int i = 0; i < 2'000; ++i) {
        callback_library<int> library;
        const gate aborted;
        const bool with_on_cancel = i % 2 == 0;
        auto future = with_on_cancel ? submit_async_task(call(library, [aborted] { aborted.open(); }))
                                     : submit_async_task(call(library));
        library.wait_until_begun();
        bool taken = false;
        std::thread completes([&, done = library.kept()]() mutable { taken = done(i); });
        future.cancel();
        completes.join();
        try {
            const int got = future.get();
            REQUIRE(taken);
            REQUIRE(got == i);
        } catch (const operation_cancelled&) {
            REQUIRE_FALSE(taken);
        }
    }
}

TEST_CASE("initiate may be a function, a std::function, or an lvalue that is copied") {
    struct functions {
        static void complete(completion<int> done) { done(5); }
    };
    CHECK(run_async_task(await_callback<int>(&functions::complete)) == 5);
    const std::function<void(completion<int>)> wrapped = functions::complete;
    CHECK(run_async_task(await_callback<int>(wrapped)) == 5);
    CHECK(run_async_task([&]() -> task<int> { co_return co_await await_callback<int>(wrapped); }) == 5);
}

TEST_CASE("an await_callback that is never awaited calls nothing and destroys what it owns") {
    const lifetimes log;
    bool called = false;
    {
        const auto initiate = [&called, held = counted(log)](completion<void>) { called = true; };
        [[maybe_unused]] const auto unused = await_callback<void>(initiate);
    }
    CHECK(log.alive() == 0);
    CHECK_FALSE(called);
}

TEST_CASE("a queue of 10,000 callbacks from another thread resumes every task") {
    std::vector<std::optional<completion<int>>> pending(10'000);
    const support::arrivals begun;
    const auto wait = [&](std::size_t i) -> task<int> {
        const auto initiate = [&, i](completion<int> done) {
            pending[i].emplace(std::move(done));
            begun.arrive();
        };
        co_return co_await await_callback<int>(initiate);
    };
    std::vector<task<int>> all;
    for (std::size_t i = 0; i < pending.size(); ++i) {
        all.push_back(wait(i));
    }
    auto future = submit_async_task(sincpro::when_all(std::move(all)));
    begun.wait(pending.size());
    std::thread library([&] {
        for (std::size_t i = 0; i < pending.size(); ++i) {
            (*pending[i])(static_cast<int>(i));
        }
    });
    const auto results = future.get();
    library.join();
    bool all_right = true;
    for (std::size_t i = 0; i < results.size(); ++i) {
        all_right = all_right && results[i] == static_cast<int>(i);
    }
    CHECK(all_right);
}

TEST_CASE("1,000,000 completions inside initiate need no stack") {
    const auto sum = []() -> task<long> {
        const auto initiate = [](completion<int> done) { done(1); };
        long total = 0;
        for (int i = 0; i < a_million; ++i) {
            total += co_await await_callback<int>(initiate);
        }
        co_return total;
    };
    CHECK(run_async_task(sum()) == a_million);
}

TEST_CASE("a value may need more than the usual alignment") {
    struct alignas(64) line {
        int number;
        [[nodiscard]] bool aligned() const { return reinterpret_cast<std::uintptr_t>(this) % 64 == 0; }
    };
    const auto give = [](completion<line> done) { done(line{7}); };
    const line given = run_async_task(await_callback<line>(give));
    CHECK(given.number == 7);
    CHECK(given.aligned());
    struct coroutines {
        static task<line> make(int n) {
            co_await yield();
            co_return line{n};
        }
    };
    CHECK(run_async_task(coroutines::make(8)).number == 8);
    CHECK(submit_async_task(coroutines::make(9)).get().number == 9);
}

TEST_CASE("another library may await the same call again, which begins it again") {
    struct coroutines {
        static support::owned_coroutine twice(int& sum) {
            auto call = await_callback<int>([](completion<int> done) { done(3); });
            sum += co_await call;
            sum += co_await call;
        }
        static task<int> run() {
            int sum = 0;
            const support::owned_coroutine both = twice(sum);
            for (int turns = 0; turns < 3; ++turns) co_await yield();  // one of them may go through the queue
            co_return sum;
        }
    };
    CHECK(run_async_task(coroutines::run()) == 6);
}

TEST_CASE("a reference to what has an operator& of its own is passed on") {
    struct odd {
        int value = 4;
        int* operator&() { return nullptr; }  // NOLINT: other libraries do that
    };
    odd object;
    odd& same = run_async_task(await_callback<odd&>([&](completion<odd&> done) { done(object); }));
    CHECK(std::addressof(same) == std::addressof(object));
}
