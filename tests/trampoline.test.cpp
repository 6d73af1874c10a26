#include <sincpro/async_worker/execution.hpp>

#include <cstddef>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/steps.hpp"

namespace {

using sincpro::detail::current;
using sincpro::detail::thread_state;
using sincpro::detail::trampoline;
using sincpro::detail::work;
using support::steps;

/// What a task does when it hands over to another: it is suspended, and the innermost trampoline goes on with that.
struct hand_over {
    std::coroutine_handle<> to;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept { current().innermost->next = to; }
    void await_resume() const noexcept {}
};

}  // namespace

TEST_CASE("a thread begins with nothing that runs on it, and has a state of its own") {
    thread_state& mine = current();
    CHECK(&current() == &mine);
    const thread_state* others = nullptr;
    bool empty = false;
    std::thread([&] {
        others = &current();
        empty = others->loop == nullptr && others->running == nullptr && others->innermost == nullptr &&
                others->function_cancelled == nullptr && others->helps == nullptr;
    }).join();
    CHECK(others != nullptr);
    CHECK(others != &mine);
    CHECK(empty);
}

TEST_CASE("a trampoline is the innermost one of its thread while it lives") {
    CHECK(current().innermost == nullptr);
    {
        trampoline outer;
        CHECK(current().innermost == &outer);
        {
            trampoline inner(current());
            CHECK(current().innermost == &inner);
        }
        CHECK(current().innermost == &outer);
    }
    CHECK(current().innermost == nullptr);
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
    CHECK(current().innermost == nullptr);
}

TEST_CASE("work knows whether it stands in a queue, and can leave it from the middle") {
    std::vector<work> ring;
    ring.reserve(4);
    for (int i = 0; i < 4; ++i) {
        ring.emplace_back(nullptr);
        CHECK_FALSE(ring.back().queued());
    }
    for (std::size_t i = 0; i < 4; ++i) {
        ring[i].next = &ring[(i + 1) % 4];
        ring[i].prev = &ring[(i + 3) % 4];
    }
    ring[2].leave_queue();
    CHECK_FALSE(ring[2].queued());
    CHECK(ring[1].queued());
    CHECK(ring[1].next == &ring[3]);
    CHECK(ring[3].prev == &ring[1]);
    ring[1].leave_queue();
    CHECK(ring[0].next == &ring[3]);
    CHECK(ring[3].prev == &ring[0]);
}
