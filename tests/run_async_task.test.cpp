#include <sincpro/async_worker/run_async_task.hpp>

#include <sincpro/async_worker/cancellation.hpp>
#include <sincpro/async_worker/errors.hpp>
#include <sincpro/async_worker/shield.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/when_all.hpp>
#include <sincpro/async_worker/worker.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"
#include "support/thrown.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::timeout_error;
using sincpro::worker;
using sincpro::yield;
using std::chrono::steady_clock;
using support::counted;
using support::gate;
using support::lifetimes;
using support::opens_at_exit;
using support::this_thread_number;
using support::thrown;
using support::thrown_by;

struct no_default {
    explicit no_default(int v) : value(v) {}
    int value;
};

struct shape {
    virtual ~shape() = default;
    virtual int corners() const = 0;
};

struct square : shape {
    int corners() const override { return 4; }
};

struct bespoke_error : std::runtime_error {
    explicit bespoke_error(int c) : std::runtime_error("bespoke"), code(c) {}
    int code;
};

task<int> answer() {
    co_await yield();
    co_return 42;
}

task<> nothing() { co_await yield(); }

task<std::int64_t> thread_of_task() { co_return this_thread_number(); }

template <class T>
task<T> gives(T value) {
    co_await yield();
    co_return std::move(value);
}

template <class T>
task<T&> gives_reference(T& value) {
    co_await yield();
    co_return value;
}

task<> rethrows(std::exception_ptr error) {
    co_await yield();
    std::rethrow_exception(error);
}

template <class E>
task<> throws(E error) {
    co_await yield();
    throw error;
}

task<> sleeps(std::chrono::nanoseconds time) { co_await sleep_for(time); }

task<> until_cancelled() { co_await sleep_for(std::chrono::hours::max()); }

/// Takes its time to die, so that whoever does not wait for that is found out.
class slow_to_die {
public:
    explicit slow_to_die(bool& dead) : dead_(&dead) {}
    slow_to_die(slow_to_die&& other) noexcept : dead_(std::exchange(other.dead_, nullptr)) {}
    slow_to_die& operator=(slow_to_die&&) = delete;
    ~slow_to_die() {
        if (dead_ != nullptr) {
            std::this_thread::sleep_for(30ms);
            *dead_ = true;
        }
    }

private:
    bool* dead_;
};

/// Calls `attempt` with longer and longer timeouts until its task had begun before the deadline: how long that takes is
/// the machine's business. `attempt` says whether it had.
template <class F>
bool begins_before_its_deadline(F attempt) {
    for (std::chrono::milliseconds timeout(5); timeout < support::patience; timeout *= 2) {
        if (attempt(timeout)) {
            return true;
        }
    }
    return false;
}

/// Blocks its worker's thread: no cancellation can end it.
task<int> blocks(gate begun, gate end, [[maybe_unused]] counted object) {
    begun.open();
    end.wait();
    co_return 1;
}

}  // namespace

// What it returns

static_assert(std::is_same_v<decltype(run_async_task(std::declval<task<int>>())), int>);
static_assert(std::is_same_v<decltype(run_async_task(std::declval<task<int>>(), 1s)), int>);
static_assert(std::is_same_v<decltype(run_async_task(std::declval<task<>>())), void>);
static_assert(std::is_same_v<decltype(run_async_task(std::declval<task<int&>>())), int&>);
static_assert(std::is_same_v<decltype(run_async_task(std::declval<task<const shape&>>())), const shape&>);
static_assert(std::is_same_v<decltype(run_async_task(std::declval<support::ready_awaiter<int&&>>())), int>);
static_assert(std::is_same_v<decltype(run_async_task(answer)), int>);

TEST_CASE("the result of a task is returned") {
    CHECK(run_async_task(answer()) == 42);
    CHECK(run_async_task(gives(std::string("a longer text than fits into a small string"))) ==
          "a longer text than fits into a small string");
    CHECK(run_async_task(answer(), 60s) == 42);
}

TEST_CASE("a task may give nothing") {
    run_async_task(nothing());
    run_async_task(nothing(), 60s);
    SUCCEED("both returned");
}

TEST_CASE("a task may give a reference, which stays a reference") {
    int value = 1;
    CHECK(&run_async_task(gives_reference(value)) == &value);
    CHECK(&run_async_task(gives_reference(value), 60s) == &value);
    const std::string text = "text";
    CHECK(&run_async_task(gives_reference(text)) == &text);
    const square one;
    const shape& abstract = one;
    CHECK(run_async_task(gives_reference(abstract)).corners() == 4);
}

TEST_CASE("a task may give what can only be moved") {
    CHECK(*run_async_task(gives(std::make_unique<int>(3))) == 3);
    CHECK(*run_async_task(gives(std::make_unique<int>(4)), 60s) == 4);
}

TEST_CASE("a task may give what cannot be constructed without arguments") {
    CHECK(run_async_task(gives(no_default(5))).value == 5);
    CHECK(run_async_task(gives(no_default(6)), 60s).value == 6);
}

TEST_CASE("an awaitable that gives a T&& returns a T") {
    const std::string text = "a longer text than fits into a small string";
    CHECK(run_async_task(support::ready_awaiter<std::string&&>(std::string(text))) == text);
    CHECK(*run_async_task(support::resumes_on_new_thread<std::unique_ptr<int>&&>(std::make_unique<int>(7)), 60s) == 7);
}

TEST_CASE("a result that looks like a failure is a result") {
    const auto pointer = std::make_exception_ptr(bespoke_error(1));
    CHECK(run_async_task(gives(pointer)) == pointer);
    CHECK(run_async_task(gives(std::exception_ptr())) == nullptr);
    CHECK(run_async_task(gives(std::optional<int>())) == std::nullopt);
    CHECK(run_async_task(gives(std::make_error_code(std::errc::timed_out))) == std::errc::timed_out);
}

TEST_CASE("a result is not copied on its way, and nothing is left of it when the caller's object dies") {
    const lifetimes log;
    {
        const counted result = run_async_task(gives(counted(log)));
        CHECK(log.copied() == 0);
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
}

TEST_CASE("every operation of the library may be handed over as it is") {
    run_async_task(yield());
    run_async_task(sleep_for(1ms), 60s);
    CHECK(run_async_task(sincpro::when_all(answer(), gives(std::string("x"))), 60s) ==
          std::tuple<int, std::string>(42, "x"));
}

// Awaitables of other makes

TEMPLATE_TEST_CASE("an awaitable of any make can be handed over", "", support::ready_awaiter<int>,
                   support::resumes_inline<int>, support::refuses_to_suspend<int>, support::transfers_back<int>,
                   support::resumes_on_new_thread<int>, support::member_co_await<int>, support::free_co_await<int>) {
    CHECK(run_async_task(TestType{7}) == 7);
    CHECK(run_async_task(TestType{8}, 60s) == 8);
    TestType copied{9};
    CHECK(run_async_task(copied) == 9);
    const TestType copied_too{10};
    CHECK(run_async_task(copied_too, 60s) == 10);
    CHECK(run_async_task([] { return TestType{11}; }) == 11);
    CHECK(run_async_task([&]() -> task<int> { co_return co_await TestType{12}; }) == 12);
}

TEST_CASE("an awaitable of any make may give nothing") {
    run_async_task(support::ready_awaiter<>());
    run_async_task(support::resumes_inline<>());
    run_async_task(support::refuses_to_suspend<>());
    run_async_task(support::transfers_back<>());
    run_async_task(support::resumes_on_new_thread<>(), 60s);
    run_async_task(support::member_co_await<>());
    SUCCEED("all returned");
}

TEST_CASE("a coroutine of another library can be handed over") {
    struct coroutines {
        static support::foreign_lazy<int> lazy(support::foreign_thread& elsewhere) {
            co_await elsewhere.switch_to();
            co_return 3;
        }
        static support::foreign_lazy<std::string&> refers(std::string& text) { co_return text; }
        static support::foreign_eager<std::unique_ptr<int>> eager(support::foreign_thread& elsewhere) {
            co_await elsewhere.switch_to();
            co_return std::make_unique<int>(4);
        }
        static support::foreign_lazy<> fails() {
            co_await std::suspend_never();
            throw bespoke_error(9);
        }
    };
    support::foreign_thread elsewhere;
    CHECK(run_async_task(coroutines::lazy(elsewhere)) == 3);
    std::string text;
    CHECK(&run_async_task(coroutines::refers(text)) == &text);
    CHECK(*run_async_task(coroutines::eager(elsewhere), 60s) == 4);
    CHECK(thrown<bespoke_error>([] { run_async_task(coroutines::fails()); }).code == 9);
}

TEST_CASE("a coroutine of another library may await a task and what the library offers") {
    struct coroutines {
        static support::foreign_lazy<int> adds() {
            co_await sleep_for(1ms);
            co_await yield();
            const int first = co_await answer();
            co_return first + 1;
        }
    };
    CHECK(run_async_task(coroutines::adds()) == 43);
}

TEST_CASE("an event of another library resumes what was handed over") {
    support::foreign_event event;
    std::thread setter([&] {
        while (event.waiting() == 0) {
            std::this_thread::yield();
        }
        event.set();
    });
    run_async_task([&]() -> support::foreign_event& { return event; }, 60s);
    setter.join();
    CHECK(event.is_set());
}

TEST_CASE("a task is back on its worker thread after what it awaited resumed elsewhere") {
    struct coroutines {
        static task<bool> hops(support::foreign_thread& elsewhere) {
            const auto own = this_thread_number();
            bool always_back = true;
            for (int i = 0; i < 100; ++i) {
                co_await elsewhere.switch_to();
                always_back = always_back && this_thread_number() == own;
            }
            co_await support::resumes_on_new_thread<>();
            co_return always_back&& this_thread_number() == own;
        }
    };
    support::foreign_thread elsewhere;
    CHECK(run_async_task(coroutines::hops(elsewhere)));
}

// Whose objects live how long

TEST_CASE("tasks run on one thread, which is not the caller's") {
    const auto first = run_async_task(thread_of_task());
    CHECK(first != this_thread_number());
    std::int64_t second = 0;
    std::thread([&] { second = run_async_task(thread_of_task()); }).join();
    CHECK(second == first);
}

TEST_CASE("the frame of an rvalue is destroyed on the worker thread before the result is published") {
    struct coroutines {
        static task<int> holds([[maybe_unused]] counted argument, const lifetimes& log) {
            const counted local(log);
            co_await yield();
            co_return 1;
        }
        static task<int> dies_slowly([[maybe_unused]] slow_to_die argument) { co_return 1; }
        static task<int> fails([[maybe_unused]] slow_to_die argument) {
            co_await yield();
            throw bespoke_error(1);
        }
    };
    const auto worker_thread = run_async_task(thread_of_task());
    const lifetimes log;
    CHECK(run_async_task(coroutines::holds(counted(log), log)) == 1);
    CHECK(log.alive() == 0);
    CHECK(log.destroyed_on() == worker_thread);

    bool dead = false;
    CHECK(run_async_task(coroutines::dies_slowly(slow_to_die(dead))) == 1);
    CHECK(dead);
    dead = false;
    CHECK(run_async_task(coroutines::dies_slowly(slow_to_die(dead)), 60s) == 1);
    CHECK(dead);
    dead = false;
    CHECK_THROWS_AS(run_async_task(coroutines::fails(slow_to_die(dead))), bespoke_error);
    CHECK(dead);
}

TEST_CASE("an rvalue of another make is moved to the worker and destroyed there before the result is published") {
    struct foreign : support::ready_awaiter<int> {
        explicit foreign(slow_to_die o) : support::ready_awaiter<int>(5), object(std::move(o)) {}
        slow_to_die object;
    };
    bool dead = false;
    CHECK(run_async_task(foreign(slow_to_die(dead))) == 5);
    CHECK(dead);

    struct logged : support::ready_awaiter<int> {
        explicit logged(const lifetimes& log) : support::ready_awaiter<int>(6), object(log) {}
        counted object;
    };
    const lifetimes log;
    CHECK(run_async_task(logged(log)) == 6);
    CHECK(log.alive() == 0);
    CHECK(log.copied() == 0);
    CHECK(log.destroyed_on() == run_async_task(thread_of_task()));
}

TEST_CASE("an lvalue is copied and stays usable") {
    struct foreign : support::resumes_on_new_thread<int> {
        explicit foreign(const lifetimes& log) : support::resumes_on_new_thread<int>(5), object(log) {}
        counted object;
    };
    const lifetimes log;
    foreign mine(log);
    CHECK(run_async_task(mine) == 5);
    CHECK(log.copied() == 1);
    CHECK(log.alive() == 1);
    const foreign& constant = mine;
    CHECK(run_async_task(constant, 60s) == 5);
    CHECK(log.copied() == 2);
    CHECK(log.alive() == 1);
}

TEST_CASE("a callable is called once, on the worker thread") {
    const auto worker_thread = run_async_task(thread_of_task());
    int calls = 0;
    std::int64_t called_on = 0;
    const int result = run_async_task([&] {
        ++calls;
        called_on = this_thread_number();
        return answer();
    });
    CHECK(result == 42);
    CHECK(calls == 1);
    CHECK(called_on == worker_thread);
}

TEST_CASE("the captures of a callable live as long as its coroutine and die before the result is published") {
    const auto worker_thread = run_async_task(thread_of_task());
    const lifetimes log;
    auto text = std::make_unique<std::string>("alive");
    CHECK(run_async_task([text = std::move(text), object = counted(log)]() -> task<std::string> {
              co_await sleep_for(2ms);
              co_return *text;
          }) == "alive");
    CHECK(log.alive() == 0);
    CHECK(log.destroyed_on() == worker_thread);
    CHECK(log.copied() == 0);

    bool dead = false;
    CHECK(run_async_task([object = slow_to_die(dead)] { return answer(); }, 60s) == 42);
    CHECK(dead);
}

TEST_CASE("a callable that is an lvalue is copied") {
    const lifetimes log;
    const auto callable = [object = counted(log)]() -> task<int> {
        co_await yield();
        co_return 2;
    };
    CHECK(run_async_task(callable) == 2);
    CHECK(run_async_task(callable, 60s) == 2);
    CHECK(log.copied() == 2);
    CHECK(log.alive() == 1);
}

TEST_CASE("functions, function objects and references to them are callables") {
    CHECK(run_async_task(answer) == 42);
    CHECK(run_async_task(&answer, 60s) == 42);
    const std::function<task<int>()> wrapped = answer;
    CHECK(run_async_task(wrapped) == 42);
    auto counts = [calls = 0]() mutable { return gives(++calls); };
    CHECK(run_async_task(std::ref(counts)) == 1);
    CHECK(run_async_task(std::ref(counts)) == 2);
    CHECK(run_async_task(counts) == 3);
    CHECK(run_async_task(counts) == 3);
    CHECK(run_async_task(std::bind_front([](int n) { return gives(n); }, 8)) == 8);
}

TEST_CASE("a callable may return a reference to an awaitable, which is not copied") {
    struct pinned : support::ready_awaiter<int> {
        pinned() : support::ready_awaiter<int>(4) {}
        pinned(const pinned&) = delete;
    };
    pinned mine;
    CHECK(run_async_task([&]() -> pinned& { return mine; }) == 4);
}

// Exceptions

TEST_CASE("the same exception object is rethrown on the calling thread, its dynamic type kept") {
    const auto original = std::make_exception_ptr(bespoke_error(17));
    const bespoke_error* address = nullptr;
    try {
        std::rethrow_exception(original);
    } catch (const bespoke_error& error) {
        address = &error;
    }
    const auto check = [&](auto&& call) {
        bool caught = false;
        try {
            call();
        } catch (const std::exception& error) {
            caught = true;
            CHECK(std::current_exception() == original);
            CHECK(static_cast<const bespoke_error*>(&error) == address);
        }
        CHECK(caught);
    };
    check([&] { run_async_task(rethrows(original)); });
    check([&] { run_async_task(rethrows(original), 60s); });
    check([&] { run_async_task([&] { return rethrows(original); }); });
    check([&] { run_async_task([&]() -> task<> { co_await rethrows(original); }); });
}

TEST_CASE("anything may be thrown") {
    CHECK(thrown<int>([] { run_async_task(throws(5)); }) == 5);
    CHECK(thrown<std::string>([] { run_async_task(throws(std::string("text")), 60s); }) == "text");
    std::string caught;
    try {
        run_async_task(throws("literal"));
    } catch (const char* text) {  // not by reference, which Clang cannot do with pointers
        caught = text;
    }
    CHECK(caught == "literal");
}

TEST_CASE("an exception that a task has dies with the caller's last reference") {
    struct logged_error {
        counted object;
    };
    struct coroutines {
        static task<> fails(const lifetimes& log) {
            co_await yield();
            throw logged_error{counted(log)};
        }
    };
    const lifetimes log;
    CHECK_THROWS_AS(run_async_task(coroutines::fails(log)), logged_error);
    CHECK(log.wait_until_gone());
}

TEST_CASE("an exception from the callable reaches the caller") {
    const auto original = std::make_exception_ptr(bespoke_error(1));
    const auto throwing = [&]() -> task<int> { std::rethrow_exception(original); };
    CHECK(thrown_by([&] { return run_async_task(throwing); }) == original);
    CHECK(thrown_by([&] { return run_async_task(throwing, 60s); }) == original);
}

TEST_CASE("an exception from any step of an await reaches the caller") {
    struct from_ready : support::ready_awaiter<> {
        bool await_ready() const { throw bespoke_error(1); }
    };
    struct from_suspend : support::ready_awaiter<> {
        bool await_ready() const noexcept { return false; }
        [[gnu::noinline]] void await_suspend(std::coroutine_handle<>) const { throw bespoke_error(2); }
    };
    struct from_resume : support::ready_awaiter<> {
        void await_resume() const { throw bespoke_error(3); }
    };
    struct from_operator {
        support::ready_awaiter<> operator co_await() const { throw bespoke_error(4); }
    };
    CHECK(thrown<bespoke_error>([] { run_async_task(from_ready()); }).code == 1);
    CHECK(thrown<bespoke_error>([] { run_async_task(from_suspend()); }).code == 2);
    CHECK(thrown<bespoke_error>([] { run_async_task(from_resume()); }).code == 3);
    CHECK(thrown<bespoke_error>([] { run_async_task(from_operator()); }).code == 4);
}

namespace {

/// Throws when it is moved for the n-th time.
class fails_at_move {
public:
    fails_at_move(int n, const lifetimes& log) : left_(n), object_(log) {}
    fails_at_move(fails_at_move&& other) noexcept(false) : left_(other.left_ - 1), object_(other.object_) {
        if (left_ == 0) throw bespoke_error(3);
    }

private:
    int left_;
    counted object_;
};

/// Either the value or bespoke_error: which of the library's moves is the n-th is its own business.
template <class F>
bool ends_well(F&& call) {
    try {
        (void)call();
    } catch (const bespoke_error&) {
    }
    return true;
}

}  // namespace

TEST_CASE("an exception from moving the awaitable or the callable reaches the caller, and nothing leaks") {
    struct foreign : support::ready_awaiter<int> {
        foreign(int n, const lifetimes& log) : support::ready_awaiter<int>(5), fragile(n, log) {}
        fails_at_move fragile;
    };
    const lifetimes log;
    CHECK_THROWS_AS(run_async_task(foreign(1, log)), bespoke_error);
    CHECK_THROWS_AS(run_async_task([object = fails_at_move(2, log)] { return answer(); }), bespoke_error);
    CHECK(log.alive() == 0);
    for (int n = 2; n < 10; ++n) {
        CHECK(ends_well([&] { return run_async_task(foreign(n, log)); }));
        CHECK(ends_well([&] { return run_async_task([object = fails_at_move(n, log)] { return answer(); }, 60s); }));
        CHECK(log.alive() == 0);
    }
}

// std::promise moves the result inside of std::call_once, and the pthread_once of ThreadSanitizer and MinGW hangs after an
// exception.
#if !TESTS_WITH_THREAD_SANITIZER && !defined(_WIN32)

TEST_CASE("an exception from moving the result reaches the caller, and nothing leaks") {
    struct coroutines {
        static task<fails_at_move> gives_fragile(int n, const lifetimes& log) {
            co_await yield();
            co_return fails_at_move(n, log);
        }
    };
    const lifetimes log;
    CHECK_THROWS_AS(run_async_task(coroutines::gives_fragile(1, log)), bespoke_error);
    CHECK(log.wait_until_gone());
    for (int n = 2; n < 12; ++n) {
        CHECK(ends_well([&] { return run_async_task(coroutines::gives_fragile(n, log)); }));
        CHECK(ends_well([&] { return run_async_task(coroutines::gives_fragile(n, log), 60s); }));
        CHECK(ends_well([&] { return submit_async_task(coroutines::gives_fragile(n, log)).get(); }));
        CHECK(log.wait_until_gone());
    }
}

#endif

TEST_CASE("an exception from copying an lvalue reaches the caller, and nothing is started") {
    struct uncopyable_today : support::ready_awaiter<> {
        uncopyable_today() = default;
        uncopyable_today(uncopyable_today&&) = default;
        uncopyable_today(const uncopyable_today&) : support::ready_awaiter<>() { throw bespoke_error(6); }
    };
    uncopyable_today mine;
    CHECK(thrown<bespoke_error>([&] { run_async_task(mine); }).code == 6);
    CHECK(thrown<bespoke_error>([&] { run_async_task(mine, 60s); }).code == 6);
}

// Called where it would block a worker

namespace {

void check_deadlock_error(const std::exception_ptr& error) {
    REQUIRE(error);
    try {
        std::rethrow_exception(error);
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::resource_deadlock_would_occur);
        CHECK_THAT(e.what(), support::contains("co_await"));
    } catch (...) {
        FAIL("not a std::system_error");
    }
}

}  // namespace

TEST_CASE("a call on a worker's thread is an error that says to co_await, and the awaitable is not started") {
    struct coroutines {
        static task<> notes(bool& started, [[maybe_unused]] counted object) {
            started = true;
            co_return;
        }
        static task<std::exception_ptr> calls(bool& started, const lifetimes& log) {
            co_return thrown_by([&] { run_async_task(coroutines::notes(started, counted(log))); });
        }
        static task<std::exception_ptr> calls_with_timeout(bool& started, const lifetimes& log) {
            co_await yield();
            co_return thrown_by([&] { run_async_task(coroutines::notes(started, counted(log)), 1s); });
        }
        static support::foreign_lazy<std::exception_ptr> calls_from_abroad(bool& started, const lifetimes& log) {
            co_return thrown_by([&] { run_async_task(coroutines::notes(started, counted(log))); });
        }
        static task<std::exception_ptr> calls_other(worker& other, bool& started, const lifetimes& log) {
            co_return thrown_by([&] { other.run(coroutines::notes(started, counted(log))); });
        }
    };
    bool started = false;
    const lifetimes log;
    SECTION("this worker's, in a task") {
        check_deadlock_error(run_async_task(coroutines::calls(started, log)));
        check_deadlock_error(run_async_task(coroutines::calls_with_timeout(started, log)));
    }
    SECTION("this worker's, in a callable") {
        std::exception_ptr error;
        run_async_task([&] {
            error = thrown_by([&] { run_async_task(coroutines::notes(started, counted(log))); });
            return nothing();
        });
        check_deadlock_error(error);
    }
    SECTION("this worker's, in a coroutine of another library") {
        check_deadlock_error(run_async_task(coroutines::calls_from_abroad(started, log)));
    }
    SECTION("this worker's, in a destructor when a frame dies") {
        struct calls_when_it_dies {
            calls_when_it_dies(bool& s, const lifetimes& l, std::exception_ptr& e) : started(s), log(l), error(e) {}
            calls_when_it_dies(const calls_when_it_dies&) = delete;
            ~calls_when_it_dies() {
                error = thrown_by([&] { run_async_task(coroutines::notes(started, counted(log))); });
            }
            bool& started;
            const lifetimes& log;
            std::exception_ptr& error;
        };
        std::exception_ptr error;
        run_async_task([&]() -> task<> {
            const calls_when_it_dies object(started, log, error);
            co_await yield();
        });
        check_deadlock_error(error);
    }
    SECTION("another worker's, running or not") {
        worker other;
        check_deadlock_error(run_async_task(coroutines::calls_other(other, started, log)));
        CHECK_FALSE(other.is_running());
        other.start();
        check_deadlock_error(run_async_task(coroutines::calls_other(other, started, log)));
        check_deadlock_error(other.run(coroutines::calls(started, log)));
    }
    CHECK_FALSE(started);
    CHECK(log.alive() == 0);
    CHECK(log.constructed() > 0);
}

// Timeout

TEST_CASE("a result that is there when the wait ends is returned") {
    CHECK(run_async_task(gives(std::string("there")), 60s) == "there");
    int value = 0;
    CHECK(&run_async_task(gives_reference(value), 60s) == &value);
    CHECK(thrown<bespoke_error>([] { run_async_task(throws(bespoke_error(2)), 60s); }).code == 2);
}

namespace {

/// A value of which the n-th move takes a long time.
class slow_to_move {
public:
    slow_to_move(int slow_move, std::chrono::milliseconds time, std::atomic<int>& moves)
        : slow_move_(slow_move), time_(time), moves_(&moves) {}
    slow_to_move(slow_to_move&& other) noexcept
        : slow_move_(other.slow_move_), time_(other.time_), moves_(other.moves_) {
        if (++*moves_ == slow_move_) {
            std::this_thread::sleep_for(time_);
        }
    }

private:
    int slow_move_;
    std::chrono::milliseconds time_;
    std::atomic<int>* moves_;
};

}  // namespace

TEST_CASE("a result that is on its way to the caller when the deadline passes is returned") {
    struct coroutines {
        static task<slow_to_move> make(int slow_move, std::chrono::milliseconds time, std::atomic<int>& moves) {
            co_return slow_to_move(slow_move, time, moves);
        }
    };
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    int returned = 0;
    // On its way it is moved once on the worker thread and once on the caller's; before that the deadline counts.
    for (auto timeout = 5ms; returned < 2 && timeout < 20s; timeout *= 2) {
        returned = 0;
        for (int slow_move = 1; slow_move <= 4; ++slow_move) {
            std::atomic<int> moves = 0;
            try {
                patient.run(coroutines::make(slow_move, 3 * timeout, moves), timeout);
                ++returned;
            } catch (const timeout_error& e) {
                CHECK(e.task_stopped());
            }
        }
    }
    CHECK(returned == 2);
}

TEST_CASE("when the deadline passes the task is cancelled and has unwound before the caller goes on") {
    struct appends_at_end {
        explicit appends_at_end(std::string& t) : text(t) {}
        appends_at_end(const appends_at_end&) = delete;
        ~appends_at_end() { text += ", then unwound"; }
        std::string& text;
    };
    struct coroutines {
        static task<> append_when_destroyed(std::string& text) {
            text = "alive";
            const appends_at_end object(text);
            co_await until_cancelled();
        }
    };
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
        std::string local = "not begun";
        const auto from = steady_clock::now();
        const auto error =
            thrown<timeout_error>([&] { patient.run(coroutines::append_when_destroyed(local), timeout); });
        const std::string text = local;
        CHECK(steady_clock::now() - from >= timeout);
        CHECK(error.task_stopped());
        CHECK(error.code() == std::errc::timed_out);
        CHECK((text == "alive, then unwound" || text == "not begun"));
        return text != "not begun";
    }));
}

TEST_CASE("the text of a timeout_error is one sentence that names the timeout in a person's unit") {
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    const auto text = [&](auto timeout) {
        const auto error = thrown<timeout_error>([&] { patient.run(until_cancelled(), timeout); });
        const std::string what = error.what();
        CHECK_THAT(what, !support::contains(std::make_error_code(std::errc::timed_out).message()));
        CHECK_THAT(what, !support::contains("\n"));
        return what;
    };
    CHECK_THAT(text(20ms), Catch::Matchers::StartsWith("task took longer than 20 ms"));
    CHECK_THAT(text(1500us), Catch::Matchers::StartsWith("task took longer than 1.5 ms"));
    CHECK_THAT(text(std::chrono::duration<double>(0.25)), Catch::Matchers::StartsWith("task took longer than 250 ms"));
    CHECK_THAT(text(1500ms), Catch::Matchers::StartsWith("task took longer than 1.5 s"));
}

TEST_CASE("a timeout_error is caught as what it is in the standard library too") {
    CHECK(thrown<std::system_error>([] { run_async_task(until_cancelled(), 1ms); }).code() == std::errc::timed_out);
    CHECK_THROWS_AS(run_async_task(until_cancelled(), 1ms), std::exception);
}

TEST_CASE("a task that does not stop within cancel_grace is left to the worker until it ends") {
    worker w({.cancel_grace = 20ms});
    CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
        const lifetimes log;
        const gate begun, end;
        const opens_at_exit guard(end);
        const auto error = thrown<timeout_error>([&] { w.run(blocks(begun, end, counted(log)), timeout); });
        const bool had_begun = begun.is_open();
        if (had_begun) {
            CHECK_FALSE(error.task_stopped());
            CHECK(log.alive() == 1);
        }
        end.open();
        CHECK(log.wait_until_gone());
        CHECK(w.run(gives(2)) == 2);
        return had_begun;
    }));
}

TEST_CASE("cancel_grace max waits for the task for ever") {
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
        const lifetimes log;
        const gate begun, end;
        std::thread releases([&] {
            begun.wait();
            std::this_thread::sleep_for(timeout + 200ms);
            end.open();
        });
        const auto error = thrown<timeout_error>([&] { w.run(blocks(begun, end, counted(log)), timeout); });
        const bool had_begun = begun.is_open();
        CHECK(error.task_stopped());
        CHECK(log.alive() == 0);
        begun.open();
        releases.join();
        return had_begun;
    }));
}

TEST_CASE("a caller whose task waits behind one that blocks the worker is not held up") {
    struct coroutines {
        static task<> later([[maybe_unused]] counted object) { co_return; }
    };
    const lifetimes log;
    worker w({.cancel_grace = 20ms});
    const gate begun, end;
    const opens_at_exit guard(end);
    int result = 0;
    std::thread first([&] { result = w.run(blocks(begun, end, counted(log))); });
    begun.wait();
    CHECK_THROWS_AS(w.run(coroutines::later(counted(log)), 10ms), timeout_error);
    end.open();
    first.join();
    CHECK(result == 1);
    CHECK(log.wait_until_gone());
}

TEST_CASE("a late result is dropped") {
    struct coroutines {
        static task<counted> ignores_cancellation(const lifetimes& log) {
            try {
                co_await until_cancelled();
            } catch (const operation_cancelled&) {
            }
            co_return counted(log);
        }
    };
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
        const lifetimes log;
        const auto error = thrown<timeout_error>([&] { (void)w.run(coroutines::ignores_cancellation(log), timeout); });
        CHECK(error.task_stopped());
        CHECK(log.wait_until_gone());
        return log.constructed() > 0;
    }));
}

#if defined(__cpp_rtti)  // which std::rethrow_if_nested needs
TEST_CASE(
    "an exception other than operation_cancelled that a timed-out task ends with is nested in the timeout_error") {
    struct coroutines {
        static task<> fails_at_the_end(bool& begun, std::exception_ptr error) {
            begun = true;
            try {
                co_await until_cancelled();
            } catch (const operation_cancelled&) {
            }
            std::rethrow_exception(error);
        }
    };
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    const auto original = std::make_exception_ptr(bespoke_error(8));
    SECTION("another one is") {
        CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
            bool begun = false;
            std::exception_ptr nested;
            try {
                w.run(coroutines::fails_at_the_end(begun, original), timeout);
            } catch (const timeout_error& error) {
                CHECK(error.task_stopped());
                CHECK_THAT(error.what(), Catch::Matchers::StartsWith("task took longer than "));
                nested = thrown_by([&] { std::rethrow_if_nested(error); });
            }
            CHECK(nested == (begun ? original : nullptr));
            return begun;
        }));
    }
    SECTION("operation_cancelled is not") {
        bool caught = false;
        try {
            w.run(until_cancelled(), 5ms);
        } catch (const timeout_error& error) {
            caught = true;
            CHECK(thrown_by([&] { std::rethrow_if_nested(error); }) == nullptr);
        }
        CHECK(caught);
    }
}
#endif

TEMPLATE_TEST_CASE("a timeout of zero or less does not start the task and destroys its frame", "",
                   std::chrono::nanoseconds, std::chrono::hours, std::chrono::duration<double>,
                   std::chrono::duration<float>) {
    struct coroutines {
        static task<> notes(bool& started, [[maybe_unused]] counted object) {
            started = true;
            co_return;
        }
    };
    bool started = false;
    const lifetimes log;
    std::vector<TestType> timeouts{TestType(0), TestType(-1), TestType::min()};
    if constexpr (std::numeric_limits<typename TestType::rep>::has_infinity) {
        timeouts.back() = -TestType(std::numeric_limits<typename TestType::rep>::infinity());
        timeouts.push_back(TestType::max() * -1);
        timeouts.push_back(TestType(-0.0F));
    }
    for (const auto timeout : timeouts) {
        const auto error =
            thrown<timeout_error>([&] { run_async_task(coroutines::notes(started, counted(log)), timeout); });
        CHECK(error.task_stopped());
        CHECK(log.alive() == 0);
        CHECK_THROWS_AS(run_async_task([&] { return coroutines::notes(started, counted(log)); }, timeout),
                        timeout_error);
    }
    CHECK_FALSE(started);
    CHECK(log.alive() == 0);
}

TEST_CASE("a huge timeout is no deadline") {
    CHECK(run_async_task(answer(), std::chrono::hours::max()) == 42);
    CHECK(run_async_task(answer(), std::chrono::nanoseconds::max()) == 42);
    CHECK(run_async_task(answer(), std::chrono::duration<double>(std::numeric_limits<double>::infinity())) == 42);
    run_async_task(sleeps(2ms), std::chrono::hours::max());
    run_async_task(sleeps(2ms), std::chrono::duration<float>(std::numeric_limits<float>::infinity()));
    run_async_task(sleeps(2ms), std::chrono::duration<double>::max());
    SUCCEED("none threw");
}

TEST_CASE("a timeout that is not a number is std::invalid_argument, and the task is not started") {
    struct coroutines {
        static task<> notes(bool& started, [[maybe_unused]] counted object) {
            started = true;
            co_return;
        }
    };
    bool started = false;
    const lifetimes log;
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    CHECK_THROWS_AS(run_async_task(coroutines::notes(started, counted(log)), nan), std::invalid_argument);
    CHECK_FALSE(started);
    CHECK(log.alive() == 0);
}

TEST_CASE("a task's own timeout_error passes through untouched") {
    const auto original = std::make_exception_ptr(timeout_error("the server took too long"));
    CHECK(thrown_by([&] { run_async_task(rethrows(original)); }) == original);
    CHECK(thrown_by([&] { run_async_task(rethrows(original), 60s); }) == original);
    CHECK(thrown<timeout_error>([&] { run_async_task(rethrows(original), 60s); }).what() ==
          std::string("the server took too long"));
}

TEST_CASE("result or deadline: one of them is first, and nothing is lost or had twice") {
    struct coroutines {
        static task<counted> races(std::chrono::nanoseconds time, const lifetimes& log) {
            co_await sleep_for(time);
            co_return counted(log);
        }
    };
    const lifetimes log;
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    for (int round = 0; round < 500; ++round) {
        try {
            const counted result = w.run(coroutines::races(200us, log), std::chrono::microseconds(200 + round % 40));
            CHECK(log.alive() == 1);
        } catch (const timeout_error& error) {
            CHECK(error.task_stopped());
        }
        REQUIRE(log.wait_until_gone());
    }
    CHECK(log.copied() == 0);
}

TEST_CASE("many threads call at once and each gets its own result") {
    struct coroutines {
        static task<int> returns_late(int n) {
            co_await sleep_for(std::chrono::microseconds(n % 7 * 100));
            co_return n;
        }
    };
    std::vector<int> wrong(16, -1);
    std::vector<std::thread> callers;
    for (std::size_t caller = 0; caller < wrong.size(); ++caller) {
        callers.emplace_back([&wrong, caller] {
            int differ = 0;
            for (int i = 0; i < 200; ++i) {
                const int expected = static_cast<int>(caller) * 1000 + i;
                differ += run_async_task(coroutines::returns_late(expected), 60s) == expected ? 0 : 1;
            }
            wrong[caller] = differ;
        });
    }
    for (auto& caller : callers) {
        caller.join();
    }
    CHECK(wrong == std::vector<int>(16, 0));
}

TEST_CASE("cancellation_requested is false on the caller's thread and true in a timed-out task") {
    struct coroutines {
        static task<> asks(bool& begun, bool& after) {
            begun = !sincpro::cancellation_requested();
            try {
                co_await until_cancelled();
            } catch (const operation_cancelled&) {
                after = sincpro::cancellation_requested();
                throw;
            }
        }
    };
    CHECK_FALSE(sincpro::cancellation_requested());
    worker w({.cancel_grace = std::chrono::milliseconds::max()});
    CHECK(begins_before_its_deadline([&](std::chrono::milliseconds timeout) {
        bool begun = false;
        bool after = false;
        CHECK_THROWS_AS(w.run(coroutines::asks(begun, after), timeout), timeout_error);
        CHECK(after >= begun);
        return begun;
    }));
    CHECK_FALSE(sincpro::cancellation_requested());
}

TEST_CASE("a task that keeps the worker thread busy sees by cancellation_requested that its time is over") {
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    bool begun = false, saw_it = false;
    const auto keep_busy = [&]() -> task<> {
        begun = true;
        const auto give_up = steady_clock::now() + support::patience;
        while (!saw_it && steady_clock::now() < give_up) {
            saw_it = sincpro::cancellation_requested();
        }
        co_return;
    };
    for (auto time = 5ms; !begun && time < support::patience; time *= 2) {  // it may be over before the task begins
        CHECK_THROWS_AS(patient.run(keep_busy, time), timeout_error);
    }
    CHECK(saw_it);
}

TEST_CASE("a task whose time is over before it has begun is not begun") {
    worker w({.cancel_grace = 1ms});
    const gate blocking, release;
    const opens_at_exit at_end(release);
    auto busy = w.submit([&]() -> task<> {
        blocking.open();
        release.wait();
        co_return;
    });
    blocking.wait();
    bool begun = false;
    CHECK_THROWS_AS(w.run(
                        [&]() -> task<> {
                            begun = true;
                            co_return;
                        },
                        1ms),
                    timeout_error);
    release.open();
    busy.get();
    w.run(yield());
    CHECK_FALSE(begun);
}
