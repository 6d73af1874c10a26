#include <sincpro/async_worker/detail/coroutine/awaitable_adapter.hpp>

#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/task.hpp>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/foreign.hpp"
#include "support/hand_loop.hpp"
#include "support/steps.hpp"
#include "support/threads.hpp"

namespace {

using sincpro::task;
using sincpro::detail::adapter_base;
using sincpro::detail::awaitable_adapter;
using support::counted;
using support::foreign_thread;
using support::hand_job;
using support::hand_loop;
using support::lifetimes;
using support::ready_awaiter;
using support::refuses_to_suspend;
using support::resumes_inline;
using support::this_thread_number;
using support::transfers_back;

static_assert(!std::is_copy_constructible_v<awaitable_adapter<ready_awaiter<>>>);
static_assert(std::is_same_v<decltype(std::declval<awaitable_adapter<ready_awaiter<int&>>&>().await_resume()), int&>);
static_assert(std::is_same_v<decltype(std::declval<awaitable_adapter<ready_awaiter<int&&>>&>().await_resume()), int&&>);
static_assert(std::is_same_v<decltype(std::declval<awaitable_adapter<ready_awaiter<int>>&>().await_resume()), int>);

/// Suspends until somebody resumes the handle that it stores.
class stores_its_handle {
public:
    explicit stores_its_handle(std::coroutine_handle<>& to) : to_(&to) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) const noexcept { *to_ = self; }
    void await_resume() const noexcept {}

private:
    std::coroutine_handle<>* to_;
};

task<> append_after(std::string& log, std::coroutine_handle<>& handle) {
    log += "begun ";
    co_await stores_its_handle(handle);
    log += "ended";
}

}  // namespace

TEST_CASE("what does not suspend, or is resumed at once, does not go through the executor") {
    hand_loop on;
    hand_job job(on, []() -> task<int> {
        int sum = 0;
        for (int i = 0; i < 10; ++i) {
            sum += co_await ready_awaiter<int>(1);
            sum += co_await refuses_to_suspend<int>(1);
            sum += co_await resumes_inline<int>(1);
            sum += co_await transfers_back<int>(1);
        }
        co_return sum;
    }());
    job.start();
    CHECK(on.posted() == 0);
    REQUIRE(job.has_ended());
    CHECK(job.value() == 40);
}

TEST_CASE("of what does not suspend every 64th goes through the loop") {
    hand_loop on;
    hand_job job(on, []() -> task<int> {
        int sum = 0;
        for (int i = 0; i < 80; ++i) {
            sum += co_await ready_awaiter<int>(1);
            sum += co_await refuses_to_suspend<int>(1);
            sum += co_await resumes_inline<int>(1);
            sum += co_await transfers_back<int>(1);
        }
        co_return sum;
    }());
    job.start();
    int turns = 0;
    for (; on.posted() != 0; ++turns) on.run_once();
    CHECK(turns == 5);
    REQUIRE(job.has_ended());
    CHECK(job.value() == 320);
}

TEST_CASE("a task that another library resumes goes on on its executor, not inside that call") {
    hand_loop on;
    std::string log;
    std::coroutine_handle<> handle;
    hand_job job(on, append_after(log, handle));
    job.start();
    CHECK(log == "begun ");
    REQUIRE(handle);
    SECTION("on the same thread") { handle.resume(); }
    SECTION("on another thread") {
        std::thread([&] { handle.resume(); }).join();
    }
    CHECK(log == "begun ");
    CHECK(on.posted() == 1);
    on.run();
    CHECK(log == "begun ended");
    CHECK(job.has_ended());
}

TEST_CASE("a task that waits for another library is known to its job, and cannot be interrupted") {
    hand_loop on;
    std::string log;
    std::coroutine_handle<> handle;
    hand_job job(on, append_after(log, handle));
    CHECK(job.waiting.empty());
    job.start();
    REQUIRE(!job.waiting.empty());
    REQUIRE(job.waiting.front().awaited_by() != nullptr);
    CHECK(job.waiting.front().awaited_by()->at.line != 0);

    job.cancel();
    CHECK(on.posted() == 0);
    CHECK(!job.waiting.empty());
    handle.resume();
    on.run();
    CHECK(job.waiting.empty());
    CHECK(log == "begun ended");
    CHECK_NOTHROW(job.value());
}

TEST_CASE("what an awaiter throws reaches the task, which goes on where it is") {
    enum class where { ready, suspend, resume };
    struct throwing {
        where place;
        bool await_ready() const { return fail(where::ready); }
        void await_suspend(std::coroutine_handle<>) const { fail(where::suspend); }
        void await_resume() const { fail(where::resume); }
        bool fail(where w) const {
            if (w == place) {
                throw std::runtime_error("thrown");
            }
            return place == where::resume;
        }
    };
    for (const where place : {where::ready, where::suspend, where::resume}) {
        hand_loop on;
        hand_job job(on, [](where w) -> task<int> {
            int caught = 0;
            for (int i = 0; i < 3; ++i) {
                try {
                    co_await throwing{w};
                } catch (const std::runtime_error&) {
                    ++caught;
                }
            }
            co_return caught;
        }(place));
        job.start();
        CHECK(job.waiting.empty());
        CHECK(on.posted() == 0);
        REQUIRE(job.has_ended());
        CHECK(job.value() == 3);
    }
}

TEST_CASE("a task that is destroyed while it waits leaves nothing behind, and its job knows") {
    const lifetimes log;
    std::coroutine_handle<> handle;
    struct awaiter : stores_its_handle {
        awaiter(std::coroutine_handle<>& to, const lifetimes& l) : stores_its_handle(to), c(l) {}
        counted c;
    };
    hand_loop on;
    {
        auto wait = [](std::coroutine_handle<>& to, lifetimes l) -> task<> { co_await awaiter(to, l); };
        hand_job job(on, wait(handle, log));
        job.start();
        CHECK(log.alive() == 1);
    }
    CHECK(log.alive() == 0);
    CHECK(on.posted() == 0);
}

TEST_CASE("an awaiter is taken from where it is: a temporary lives in the await, an lvalue stays outside") {
    const lifetimes log;
    struct awaiter : ready_awaiter<int> {
        explicit awaiter(const lifetimes& l) : ready_awaiter<int>(1), c(l) {}
        counted c;
    };
    hand_loop on;
    hand_job job(on, [](lifetimes l) -> task<int> {
        awaiter kept(l);
        const int one = co_await kept;
        co_return one + co_await awaiter(l);
    }(log));
    job.start();
    CHECK(job.value() == 2);
    CHECK(log.copied() == 0);
    CHECK(log.alive() == 0);
}

TEST_CASE("results pass through as they are") {
    hand_loop on;
    int number = 0;
    hand_job<int&> reference(on, [](int& n) -> task<int&> { co_return co_await ready_awaiter<int&>(n); }(number));
    reference.start();
    CHECK(&reference.value() == &number);

    hand_job move_only(on, []() -> task<std::unique_ptr<int>> {
        co_return co_await ready_awaiter<std::unique_ptr<int>&&>(std::make_unique<int>(7));
    }());
    move_only.start();
    CHECK(*move_only.value() == 7);
}

TEST_CASE("a task that another library runs outside of any worker goes on where it is resumed") {
    std::string log;
    std::coroutine_handle<> handle;
    const auto run = [](std::string& l, std::coroutine_handle<>& h) -> support::steps {
        co_await append_after(l, h);
        l += ", other library too";
    };
    const support::steps other_library = run(log, handle);
    other_library.frame().resume();
    CHECK(log == "begun ");
    SECTION("on the same thread") { handle.resume(); }
    SECTION("on another thread") {
        std::thread([&] { handle.resume(); }).join();
    }
    CHECK(log == "begun ended, other library too");
    CHECK(other_library.frame().done());
}

TEST_CASE("a resumption by another thread that meets the suspension is neither lost nor had twice") {
    // The other thread resumes at once, so it often comes before await_suspend has returned.
    constexpr int rounds = 3'000;
    hand_loop on;
    foreign_thread elsewhere;
    int count = 0;
    std::int64_t on_other_threads = 0;
    hand_job job(on, [](foreign_thread& other, int& n, std::int64_t& wrong) -> task<> {
        const std::int64_t home = this_thread_number();
        for (int i = 0; i < rounds; ++i) {
            co_await other.switch_to();
            wrong += this_thread_number() != home;
            ++n;
        }
    }(elsewhere, count, on_other_threads));
    job.start();
    while (!job.has_ended()) {
        REQUIRE(on.wait_until_posted());
        on.run_once();
    }
    CHECK(count == rounds);
    CHECK(on_other_threads == 0);
    CHECK(on.posted() == 0);
}

namespace another_library {

/// Found by name where an argument of this namespace is passed on.
template <class A>
A&& get_awaiter(A&& a) {
    return static_cast<A&&>(a);
}
struct ready {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return 5; }
};

}  // namespace another_library

TEST_CASE("names of another library do not meet those of this one") {
    struct coroutines {
        static sincpro::task<int> wait() { co_return co_await another_library::ready(); }
    };
    CHECK(sincpro::run_async_task(coroutines::wait()) == 5);
    CHECK(sincpro::run_async_task(another_library::ready()) == 5);
}
