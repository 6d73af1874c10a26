#include <sincpro/async_worker/awaitable.hpp>

#include <sincpro/async_worker.hpp>

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/scale.hpp"
#include "support/threads.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using support::a_hundred_thousand;
using support::a_million;
using support::foreign_eager;
using support::foreign_event;
using support::foreign_lazy;
using support::foreign_thread;
using support::free_co_await;
using support::gate;
using support::member_co_await;
using support::ready_awaiter;
using support::refuses_to_suspend;
using support::resumes_inline;
using support::resumes_on_new_thread;
using support::this_thread_number;
using support::transfers_back;

static_assert(sincpro::awaitable<task<int>>);
static_assert(sincpro::awaitable<ready_awaiter<>>);
static_assert(sincpro::awaitable<member_co_await<int>>);
static_assert(sincpro::awaitable<free_co_await<int>>);
static_assert(sincpro::awaitable<foreign_lazy<>>);
static_assert(!sincpro::awaitable<int>);
static_assert(!sincpro::awaitable<std::string>);
static_assert(!sincpro::awaitable<void>);

/// An awaiter whose await_suspend returns an R.
template <class R>
struct suspends_with {
    bool await_ready() const;
    R await_suspend(std::coroutine_handle<>) const;
    void await_resume() const;
};
static_assert(sincpro::awaitable<suspends_with<void>>);
static_assert(sincpro::awaitable<suspends_with<bool>>);
static_assert(sincpro::awaitable<suspends_with<std::coroutine_handle<>>>);
static_assert(sincpro::awaitable<suspends_with<std::noop_coroutine_handle>>);
static_assert(!sincpro::awaitable<suspends_with<int>>);
static_assert(!sincpro::awaitable<suspends_with<void*>>);
static_assert(!sincpro::awaitable<suspends_with<bool&>>);

/// One that deduces what it returns from the promise, which it looks at.
struct deduces {
    bool await_ready() const { return true; }
    template <class Promise>
    auto await_suspend(std::coroutine_handle<Promise>) const {
        if constexpr (requires(Promise & p) { p.not_a_member_of_any(); }) return true;
    }
    int await_resume() const { return 3; }
};
static_assert(sincpro::awaitable<deduces>);

// What the library's own operations are.
static_assert(sincpro::awaitable<decltype(sincpro::when_all(std::declval<task<int>>(), std::declval<task<>>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::when_all(std::declval<std::vector<task<int>>>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::when_any(std::declval<task<int>>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::with_timeout(std::declval<task<int>>(), 1s))>);
static_assert(sincpro::awaitable<decltype(sincpro::shield(std::declval<task<int>>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::as_result(std::declval<task<int>>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::to_thread(std::declval<int (*)()>()))>);
static_assert(sincpro::awaitable<decltype(sincpro::await_callback(std::declval<void (*)(sincpro::completion<>)>()))>);
static_assert(sincpro::awaitable<decltype(std::declval<sincpro::semaphore&>().acquire())>);
static_assert(sincpro::awaitable<task<int>&>);  // by other libraries' coroutines

template <class A>
using bridge_result = decltype(run_async_task(std::declval<A>()));

static_assert(std::is_same_v<bridge_result<ready_awaiter<int>>, int>);
static_assert(std::is_same_v<bridge_result<ready_awaiter<int&>>, int&>);
static_assert(std::is_same_v<bridge_result<ready_awaiter<const int&>>, const int&>);
static_assert(std::is_same_v<bridge_result<ready_awaiter<std::string&&>>, std::string>);
static_assert(std::is_same_v<bridge_result<ready_awaiter<>>, void>);

template <class A>
task<long> await_repeatedly(int rounds) {
    long total = 0;
    for (int i = 0; i < rounds; ++i) {
        total += co_await A(1);
    }
    co_return total;
}

}  // namespace

TEST_CASE("every kind of awaitable may be given to the bridge") {
    CHECK(run_async_task(ready_awaiter<int>(1)) == 1);
    CHECK(run_async_task(resumes_inline<int>(2)) == 2);
    CHECK(run_async_task(refuses_to_suspend<int>(3)) == 3);
    CHECK(run_async_task(transfers_back<int>(4)) == 4);
    CHECK(run_async_task(resumes_on_new_thread<int>(5)) == 5);
    CHECK(run_async_task(member_co_await<int>(6)) == 6);
    CHECK(run_async_task(free_co_await<int>{7}) == 7);
    run_async_task(ready_awaiter<>());
    run_async_task(resumes_on_new_thread<>());
}

TEST_CASE("an lvalue awaitable of another library is copied") {
    const member_co_await<std::string> member("member");
    const free_co_await<std::string> free{"free"};
    CHECK(run_async_task(member) == "member");
    CHECK(run_async_task(free) == "free");
    CHECK(run_async_task(free) == "free");
}

TEST_CASE("a task awaits every kind of awaitable") {
    const auto sum = []() -> task<int> {
        const member_co_await<int> member(100'000);
        const free_co_await<int> free{1'000'000};
        int total = co_await ready_awaiter<int>(1);
        total += co_await resumes_inline<int>(10);
        total += co_await refuses_to_suspend<int>(100);
        total += co_await transfers_back<int>(1'000);
        total += co_await resumes_on_new_thread<int>(10'000);
        total += co_await member;
        total += co_await free;
        co_await ready_awaiter<>();
        co_await resumes_inline<>();
        co_await resumes_on_new_thread<>();
        co_return total;
    };
    CHECK(run_async_task(sum()) == 1'111'111);
}

TEST_CASE("awaitables of another library give references, move-only values and what they were moved from") {
    const auto check = []() -> task<> {
        int there = 1;
        int& back = co_await resumes_inline<int&>(there);
        CHECK(&back == &there);
        int& back_from_afar = co_await resumes_on_new_thread<int&>(there);
        CHECK(&back_from_afar == &there);
        const std::unique_ptr<int> seven =
            co_await resumes_on_new_thread<std::unique_ptr<int>>(std::make_unique<int>(7));
        CHECK(*seven == 7);
        const std::string text = co_await ready_awaiter<std::string&&>("text");
        CHECK(text == "text");
    };
    run_async_task(check());

    int there = 1;
    CHECK(&run_async_task(resumes_on_new_thread<int&>(there)) == &there);
    CHECK(*run_async_task(resumes_inline<std::unique_ptr<int>>(std::make_unique<int>(7))) == 7);
    CHECK(run_async_task(ready_awaiter<std::string&&>("text")) == "text");
}

TEST_CASE("combinators take awaitables of other libraries") {
    const auto four = []() -> foreign_lazy<int> {
        co_await sleep_for(1ms);
        co_return 4;
    };
    const auto all = run_async_task(
        sincpro::when_all(resumes_on_new_thread<int>(1), member_co_await<int>(2), free_co_await<int>{3}, four()));
    CHECK(all == std::tuple(1, 2, 3, 4));
    const auto any = run_async_task(sincpro::when_any(sleep_for(1h), resumes_on_new_thread<int>(1)));
    REQUIRE(any.index() == 1);
    CHECK(std::get<1>(any) == 1);
    CHECK(run_async_task(sincpro::with_timeout(resumes_on_new_thread<int>(1), 1h)) == 1);
}

TEST_CASE("1,000,000 awaits of an awaitable that resumes inside await_suspend need no stack") {
    CHECK(run_async_task(await_repeatedly<resumes_inline<int>>(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of an awaitable that is ready at once need no stack") {
    CHECK(run_async_task(await_repeatedly<ready_awaiter<int>>(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of an awaitable whose await_suspend returns false need no stack") {
    CHECK(run_async_task(await_repeatedly<refuses_to_suspend<int>>(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of an awaitable that transfers back need no stack") {
    CHECK(run_async_task(await_repeatedly<transfers_back<int>>(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of an awaitable with operator co_await need no stack") {
    CHECK(run_async_task(await_repeatedly<member_co_await<int>>(a_million)) == a_million);
}

TEST_CASE("1,000,000 awaits of a lazy coroutine of another library need no stack") {
    struct coroutines {
        static foreign_lazy<int> one() { co_return 1; }
        static task<long> sum() {
            long total = 0;
            for (int i = 0; i < a_million; ++i) {
                total += co_await one();
            }
            co_return total;
        }
    };
    CHECK(run_async_task(coroutines::sum()) == a_million);
}

TEST_CASE("a task is back on its worker thread after every await of something that resumes elsewhere") {
    foreign_thread elsewhere;
    struct coroutines {
        static task<int> moves(foreign_thread& to, int rounds) {
            const auto home = this_thread_number();
            int returned = 0;
            for (int i = 0; i < rounds; ++i) {
                co_await to.switch_to();
                returned += this_thread_number() == home ? 1 : 0;
            }
            co_return returned;
        }
        static foreign_lazy<std::int64_t> hop_and_tell(foreign_thread& to) {
            co_await to.switch_to();
            co_return this_thread_number();
        }
        static task<bool> hop_in_foreign_coroutine(foreign_thread& to) {
            const auto home = this_thread_number();
            const auto there = co_await hop_and_tell(to);
            co_return there != home&& this_thread_number() == home;
        }
    };
    CHECK(run_async_task(coroutines::moves(elsewhere, 5'000)) == 5'000);
    CHECK(run_async_task(coroutines::hop_in_foreign_coroutine(elsewhere)));

    std::vector<task<int>> at_once;
    for (int i = 0; i < 100; ++i) {
        at_once.push_back(coroutines::moves(elsewhere, 20));
    }
    const auto returned = run_async_task(sincpro::when_all(std::move(at_once)));
    CHECK(returned == std::vector<int>(100, 20));
}

TEST_CASE("a task is back on its worker thread when what resumed elsewhere throws") {
    struct throws_elsewhere {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> self) const { resumes_on_new_thread<>().await_suspend(self); }
        void await_resume() const { throw std::runtime_error("elsewhere"); }
    };
    const bool back = run_async_task([]() -> task<bool> {
        const auto home = this_thread_number();
        bool caught = false;
        try {
            co_await throws_elsewhere();
        } catch (const std::runtime_error&) {
            caught = this_thread_number() == home;
        }
        co_return caught&& this_thread_number() == home;
    });
    CHECK(back);
}

namespace {

enum class step { never, co_await_operator, ready, suspend, resume };

template <step Fails>
struct fails_at {
    struct awaiter {
        bool await_ready() const {
            if (Fails == step::ready) {
                throw std::runtime_error("await_ready");
            }
            return false;
        }
        bool await_suspend(std::coroutine_handle<>) const {
            if (Fails == step::suspend) {
                throw std::runtime_error("await_suspend");
            }
            return false;
        }
        int await_resume() const {
            if (Fails == step::resume) {
                throw std::runtime_error("await_resume");
            }
            return 1;
        }
    };
    awaiter operator co_await() const {
        if (Fails == step::co_await_operator) {
            throw std::runtime_error("operator co_await");
        }
        return {};
    }
};

template <step Fails>
task<std::string> message_of() {
    std::string message;
    try {
        co_await fails_at<Fails>();
    } catch (const std::runtime_error& e) {
        message = e.what();
    }
    co_return message;
}

}  // namespace

TEST_CASE("what another library's awaitable throws at any step reaches the task that awaits it") {
    CHECK(run_async_task(message_of<step::never>()).empty());
    CHECK(run_async_task(message_of<step::co_await_operator>()) == "operator co_await");
    CHECK(run_async_task(message_of<step::ready>()) == "await_ready");
    CHECK(run_async_task(message_of<step::suspend>()) == "await_suspend");
    CHECK(run_async_task(message_of<step::resume>()) == "await_resume");
}

TEST_CASE("what another library's awaitable throws at any step reaches the caller of the bridge") {
    CHECK(run_async_task(fails_at<step::never>()) == 1);
    CHECK_THROWS_WITH(run_async_task(fails_at<step::co_await_operator>()), "operator co_await");
    CHECK_THROWS_WITH(run_async_task(fails_at<step::ready>()), "await_ready");
    CHECK_THROWS_WITH(run_async_task(fails_at<step::suspend>()), "await_suspend");
    CHECK_THROWS_WITH(run_async_task(fails_at<step::resume>()), "await_resume");
}

TEST_CASE("a coroutine of another library awaits tasks and operations of this one on the worker") {
    struct coroutines {
        static task<int> nap(int n) {
            co_await sleep_for(1ms);
            co_return n;
        }
        static foreign_lazy<int> three_naps() {
            int total = co_await nap(1);
            co_await sleep_for(1ms);
            total += co_await nap(2);
            const auto pair = co_await sincpro::when_all(nap(3), nap(4));
            co_return total + std::get<0>(pair) + std::get<1>(pair);
        }
        static task<int> twice() {
            const int first = co_await three_naps();
            co_return first + co_await three_naps();
        }
    };
    CHECK(run_async_task(coroutines::three_naps()) == 10);
    CHECK(run_async_task(coroutines::twice()) == 20);
}

TEST_CASE("nested tasks that no worker runs go on when another thread resumes what they wait for") {
    struct coroutines {
        static task<int> nested(int depth) {
            if (depth == 0) {
                co_await resumes_on_new_thread<>();
                co_return 0;
            }
            co_return 1 + co_await nested(depth - 1);
        }
        static foreign_eager<> outer(gate ended, std::shared_ptr<int> result) {
            *result = co_await nested(20);
            ended.open();
        }
    };
    for (int i = 0; i < 1'000; ++i) {
        const gate ended;
        const auto result = std::make_shared<int>(0);
        coroutines::outer(ended, result);
        REQUIRE(ended.wait_for(10s));
        REQUIRE(*result == 20);
    }
}

TEST_CASE("an operation awaited by a coroutine that another library has taken to its own thread is not permitted") {
    foreign_thread elsewhere;
    struct coroutines {
        static foreign_lazy<> hop_and_sleep(foreign_thread& to) {
            co_await to.switch_to();
            co_await sleep_for(1ms);
        }
    };
    std::error_code code;
    try {
        run_async_task(coroutines::hop_and_sleep(elsewhere));
    } catch (const std::system_error& e) {
        code = e.code();
    }
    CHECK(code == std::errc::operation_not_permitted);
}

namespace {

foreign_eager<int> flow(std::chrono::milliseconds time, int result, int& ended) {
    try {
        co_await sleep_for(time);
    } catch (const sincpro::operation_cancelled&) {
        ++ended;
        throw;
    }
    ++ended;
    co_return result;
}

/// Another library's combinator: both flows belong to the one task that calls it.
task<int> both(std::chrono::milliseconds first, std::chrono::milliseconds second, int& ended) {
    const auto a = flow(first, 1, ended);
    const auto b = flow(second, 2, ended);
    const int one = co_await a;
    co_return one + co_await b;
}

}  // namespace

TEST_CASE("another library's combinator may run several flows in one task") {
    int ended = 0;
    CHECK(run_async_task(both(20ms, 1ms, ended)) == 3);
    CHECK(run_async_task(both(1ms, 20ms, ended)) == 3);
    CHECK(ended == 4);
}

TEST_CASE("cancelling a task ends the operations of all flows that another library's combinator runs in it") {
    int ended = 0;
    const gate begun;
    auto future = submit_async_task([&]() -> task<> {
        const auto a = flow(1h, 1, ended);
        const auto b = flow(2h, 2, ended);
        begun.open();
        try {
            co_await a;
        } catch (const sincpro::operation_cancelled&) {
        }
        co_await b;
    });
    begun.wait();
    future.cancel();
    REQUIRE_THROWS_AS(future.get(), sincpro::operation_cancelled);
    CHECK(ended == 2);
}

TEST_CASE("a task that another task resumes through a foreign event keeps its own cancellation") {
    struct coroutines {
        static task<> wait_then_sleep(foreign_event& event, bool& unwound) {
            co_await event;
            try {
                co_await sleep_for(1h);
            } catch (const sincpro::operation_cancelled&) {
                unwound = true;
                throw;
            }
        }
        static task<int> set_and_go_on(foreign_event& event) {
            event.set();
            co_await sleep_for(1ms);
            co_return sincpro::cancellation_requested() ? 0 : 5;
        }
    };
    foreign_event event;
    bool unwound = false;
    const auto first = run_async_task(
        sincpro::when_any(coroutines::wait_then_sleep(event, unwound), coroutines::set_and_go_on(event)));
    REQUIRE(first.index() == 1);
    CHECK(std::get<1>(first) == 5);
    CHECK(unwound);
}

TEST_CASE("100,000 tasks of one worker may wait for one foreign event that one of them sets") {
    struct coroutines {
        static task<int> wait(foreign_event& event) {
            co_await event;
            co_return 1;
        }
        static task<int> set(foreign_event& event) {
            event.set();
            co_return 0;
        }
    };
    foreign_event event;
    std::vector<task<int>> all;
    for (int i = 0; i < a_hundred_thousand; ++i) {
        all.push_back(coroutines::wait(event));
    }
    all.push_back(coroutines::set(event));
    const auto results = run_async_task(sincpro::when_all(std::move(all)));
    long total = 0;
    for (const int one : results) {
        total += one;
    }
    CHECK(total == a_hundred_thousand);
}

TEST_CASE("a task waiting for another library goes on until that resumes it, cancelled or not") {
    foreign_event event;
    const gate begun;
    bool went_on = false;
    auto future = submit_async_task([&]() -> task<int> {
        begun.open();
        co_await event;
        went_on = true;
        co_return 5;
    });
    begun.wait();
    future.cancel();
    run_async_task(sincpro::yield());
    CHECK_FALSE(went_on);
    event.set();
    CHECK(future.get() == 5);
    CHECK(went_on);
}

TEST_CASE("an awaitable that deduces what await_suspend returns can be awaited") {
    CHECK(run_async_task(deduces()) == 3);
    CHECK(run_async_task([]() -> task<int> { co_return co_await deduces(); }) == 3);
}

namespace {

/// Another library's awaitable that destroys the handle which it is given instead of resuming it.
struct destroys {
    enum class when : unsigned char { at_once, later, on_another_thread };
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> h) {
        if (where == when::at_once) return h.destroy();
        if (where == when::later) {
            kept->handle = h;
        } else {
            kept->thread = std::thread([h] { h.destroy(); });
        }
    }
    int await_resume() const { return 1; }

    struct place {
        std::coroutine_handle<> handle;
        std::thread thread;
    };
    when where;
    place* kept;
};

std::string awaits_what_destroys(destroys::when where) {
    destroys::place kept;
    auto future = sincpro::submit_async_task([&]() -> task<int> { co_return co_await destroys{where, &kept}; });
    if (where == destroys::when::later) {
        run_async_task([&]() -> task<> {
            while (!kept.handle) co_await sincpro::yield();
            kept.handle.destroy();
        });
    }
    std::string outcome = "a value";
    try {
        future.get();
    } catch (const std::future_error& error) {
        outcome = error.code() == std::future_errc::broken_promise ? "broken promise" : "another error";
    }
    if (kept.thread.joinable()) kept.thread.join();
    return outcome;
}

}  // namespace

TEST_CASE("a task whose handle another library destroys instead of resuming it goes on with broken_promise") {
    CHECK(awaits_what_destroys(destroys::when::at_once) == "broken promise");
    CHECK(awaits_what_destroys(destroys::when::later) == "broken promise");
    CHECK(awaits_what_destroys(destroys::when::on_another_thread) == "broken promise");
}
