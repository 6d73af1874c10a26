#include <sincpro/async_worker/detail/coroutine/trampoline.hpp>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>

#include "support/catch.hpp"
#include "support/steps.hpp"

namespace {

using sincpro::detail::this_thread;
using sincpro::detail::thread_context;
using sincpro::detail::trampoline;
using support::steps;

/// What a task does when it hands over to another: it is suspended, and the innermost trampoline goes on with that.
struct hand_over {
    std::coroutine_handle<> to;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept { this_thread().innermost->next = to; }
    void await_resume() const noexcept {}
};

}  // namespace

TEST_CASE("a thread begins with nothing that runs on it, and has a state of its own") {
    thread_context& mine = this_thread();
    CHECK(&this_thread() == &mine);
    const thread_context* others = nullptr;
    bool empty = false;
    std::thread([&] {
        others = &this_thread();
        empty = others->running == nullptr && others->innermost == nullptr && others->function_cancelled == nullptr;
    }).join();
    CHECK(others != nullptr);
    CHECK(others != &mine);
    CHECK(empty);
}

TEST_CASE("a trampoline is the innermost one of its thread while it lives") {
    CHECK(this_thread().innermost == nullptr);
    {
        trampoline outer;
        CHECK(this_thread().innermost == &outer);
        {
            trampoline inner(this_thread());
            CHECK(this_thread().innermost == &inner);
        }
        CHECK(this_thread().innermost == &outer);
    }
    CHECK(this_thread().innermost == nullptr);
}

TEST_CASE("a trampoline resumes what it is given and returns when nothing follows") {
    std::string log;
    const auto say = [](std::string& to, char c) -> steps {
        to += c;
        co_await std::suspend_always();
        to += c;
    };
    const steps a = say(log, 'a');
    trampoline t;
    t.run(a.frame());
    CHECK(log == "a");
    CHECK_FALSE(a.frame().done());
    t.run(a.frame());
    CHECK(log == "aa");
    CHECK(a.frame().done());
    t.run(nullptr);
    CHECK_FALSE(t.next);
}

TEST_CASE("a chain of a million coroutines that hand over to each other needs no stack") {
    constexpr int rounds = 1'000'000;
    struct pair {
        std::coroutine_handle<> ping, pong;
        int count = 0;
    } both;
    const auto play = [](pair& p, bool first) -> steps {
        while (++p.count < rounds) {
            co_await hand_over{first ? p.pong : p.ping};
        }
    };
    const steps ping = play(both, true), pong = play(both, false);
    both.ping = ping.frame();
    both.pong = pong.frame();
    trampoline().run(both.ping);
    CHECK(both.count == rounds);
}

TEST_CASE("what follows inside a nested trampoline is resumed by that, not by the outer one") {
    std::string log;
    struct flows {
        std::string& log;
        std::coroutine_handle<> inner, last;
    } all{log, {}, {}};
    const auto outer = [](flows& f) -> steps {
        f.log += "outer(";
        {
            // As another library's event does that resumes a second flow inside the first.
            trampoline nested;
            nested.run(f.inner);
        }
        f.log += ")";
        co_return;
    };
    const auto inner = [](flows& f) -> steps {
        f.log += "inner ";
        co_await hand_over{f.last};
    };
    const auto last = [](flows& f) -> steps {
        f.log += "last";
        co_return;
    };
    const steps first = outer(all), second = inner(all), third = last(all);
    all.inner = second.frame();
    all.last = third.frame();
    trampoline().run(first.frame());
    CHECK(log == "outer(inner last)");
    CHECK(this_thread().innermost == nullptr);
}
