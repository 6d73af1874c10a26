#include <sincpro/async_worker/detail/coroutine/async_stack_trace.hpp>

#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <future>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"
#include "support/hand_loop.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::timeout_error;
using sincpro::worker;
using sincpro::yield;
using support::contains;
using support::foreign_lazy;
using support::gate;
using support::opens_at_exit;

// The line of the co_await below each of these.
constexpr unsigned fetch_line = __LINE__ + 1;
task<> fetch() { co_await sleep_for(1h); }

constexpr unsigned load_line = __LINE__ + 1;
task<> load() { co_await fetch(); }

constexpr unsigned fetch_all_line = __LINE__ + 1;
task<> fetch_all() { co_await sincpro::when_all(load(), fetch()); }

constexpr unsigned call_library_line = __LINE__ + 4;
task<> call_library(const gate& begun, support::foreign_event& event) {
    co_await yield();
    begun.open();
    co_await event;
}

constexpr unsigned hog_line = __LINE__ + 2;
task<> hog(gate blocking, gate release) {
    co_await yield();
    blocking.open();
    release.wait();
}

/// "async_stack_trace.test.cpp:12 (fetch)"
std::string at(unsigned line, const char* function) {
    return "async_stack_trace.test.cpp:" + std::to_string(line) + " (" + function + ")";
}

/// The timeout_error of a task that has begun. On a slow machine the time may be over before that; then it gets more.
template <class MakeTask>
timeout_error time_out(MakeTask make_task) {
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    for (auto time = 5ms; time < 60s; time *= 2) {
        try {
            patient.run(make_task(), time);
        } catch (const timeout_error& e) {
            if (!e.suspended_at().empty()) {
                return e;
            }
        }
    }
    throw std::runtime_error("the error never said where the task was suspended");
}

/// What what() says of where the task was suspended.
template <class MakeTask>
std::string where(MakeTask make_task) {
    const std::string text = time_out(std::move(make_task)).what();
    const std::string before = "; suspended at ";
    const auto found = text.find(before);
    return found == std::string::npos ? text : text.substr(found + before.size());
}

std::string dump(const worker& w) {
    std::ostringstream out;
    w.dump(out);
    return out.str();
}

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) {
        ++found;
    }
    return found;
}

}  // namespace

TEST_CASE("what() names the time, the innermost co_await, and those that wait for it") {
    worker patient({.cancel_grace = std::chrono::milliseconds::max()});
    std::string text;
    try {
        patient.run(load(), 1500ms);
    } catch (const timeout_error& e) {
        text = e.what();
    }
    CHECK(text ==
          "task took longer than 1.5 s; suspended at " + at(fetch_line, "fetch") + " <- " + at(load_line, "load"));
}

TEST_CASE("suspended_at gives the same as data, innermost first, as long as a copy of the error lives") {
    std::optional<timeout_error> copy;
    {
        const auto error = time_out(load);
        copy.emplace(error);
    }
    const auto chain = copy->suspended_at();
    REQUIRE(chain.size() == 2);
    CHECK(chain[0].line == fetch_line);
    CHECK(chain[0].function == std::string("fetch"));
    CHECK(std::string_view(chain[0].file).ends_with("async_stack_trace.test.cpp"));
    CHECK(chain[1].line == load_line);
    CHECK(chain[1].function == std::string("load"));
    CHECK(std::string_view(chain[1].file).ends_with("async_stack_trace.test.cpp"));
}

TEST_CASE("the chain goes through the child of when_all that has not ended") {
    CHECK(where(fetch_all) ==
          at(fetch_line, "fetch") + " <- " + at(load_line, "load") + " <- " + at(fetch_all_line, "fetch_all"));
    struct coroutines {
        static task<> ends() { co_return; }
        static task<> last_one_waits() { co_await sincpro::when_all(ends(), fetch()); }
    };
    CHECK_THAT(where(coroutines::last_one_waits),
               contains(at(fetch_line, "fetch") + " <- async_stack_trace.test.cpp:"));
}

TEST_CASE("with_timeout says where its operand was suspended") {
    const auto run = []() -> task<std::string> {
        std::string text;
        for (auto time = 5ms; text.find("suspended") == std::string::npos && time < 60s; time *= 2) {
            try {
                co_await sincpro::with_timeout(load(), time);
            } catch (const timeout_error& e) {
                text = e.what();
            }
        }
        co_return text;
    };
    CHECK_THAT(run_async_task(run()),
               contains("; suspended at " + at(fetch_line, "fetch") + " <- " + at(load_line, "load")));
}

TEST_CASE("the chain goes through every operation that waits for others") {
    const std::string inner = at(fetch_line, "fetch") + " <- " + at(load_line, "load");
    struct coroutines {
        static task<> any() { co_await sincpro::when_any(load(), load()); }
        static task<> timeout() { co_await sincpro::with_timeout(load(), 2h); }
        static task<> shielded() { co_await sincpro::with_timeout(sincpro::when_all(load()), 2h); }
        static task<> vector() {
            std::vector<task<>> children;
            children.push_back(load());
            co_await sincpro::when_all(std::move(children));
        }
        static task<> result() { static_cast<void>(co_await sincpro::as_result(load())); }
    };
    for (const auto make :
         {coroutines::any, coroutines::timeout, coroutines::shielded, coroutines::vector, coroutines::result}) {
        const auto text = where(make);
        CHECK(text.substr(0, inner.size()) == inner);
        CHECK(count(text, "async_stack_trace.test.cpp:") == 3);
        CHECK(count(text, ".hpp:") == 0);  // the library's own frames say nothing
    }
    CHECK(where([] { return sincpro::when_all(load(), load()); }) == inner);
}

TEST_CASE("dump names the co_await of what another library has to resume") {
    worker w;
    const gate begun;
    support::foreign_event event;
    auto waiting = w.submit(call_library(begun, event));
    begun.wait();
    w.run(yield());
    CHECK_THAT(dump(w), contains(at(call_library_line, "call_library")));
    event.set();
    waiting.get();
}

TEST_CASE("the chain names both sides of another library's coroutine") {
    struct coroutines {
        static foreign_lazy<> foreign() { co_await load(); }
        static task<> outer() { co_await foreign(); }
    };
    const auto both_sides = where(coroutines::outer);
    CHECK_THAT(both_sides, contains(at(fetch_line, "fetch") + " <- " + at(load_line, "load")));
    CHECK_THAT(both_sides, contains("(outer)"));
}

namespace {

/// Another library's coroutine that begins where it is called.
struct eager {
    struct promise_type {
        eager get_return_object() { return eager(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        auto final_suspend() const noexcept {
            struct resumes_its_awaiter : std::suspend_always {
                std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
                    return h.promise().awaiter;
                }
            };
            return resumes_its_awaiter();
        }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept {}
        std::coroutine_handle<> awaiter = std::noop_coroutine();
    };
    explicit eager(std::coroutine_handle<promise_type> h) : frame(h) {}
    eager(eager&& other) noexcept : frame(std::exchange(other.frame, nullptr)) {}
    eager& operator=(eager&&) = delete;
    ~eager() {
        if (frame) frame.destroy();
    }
    bool await_ready() const noexcept { return frame.done(); }
    void await_suspend(std::coroutine_handle<> awaiter) noexcept { frame.promise().awaiter = awaiter; }
    void await_resume() const noexcept {}

    std::coroutine_handle<promise_type> frame;
};

struct eagers {
    static eager theirs(int depth) { co_await ours(depth); }
    static task<> ours(int depth) {
        if (depth == 0) {
            co_await load();
            co_return;
        }
        eager begun = theirs(depth - 1);
        co_await begun;
    }
    static task<> after_a_while(int depth) {
        co_await sincpro::yield();
        co_await ours(depth);
    }
    static foreign_lazy<> lazily(int depth) { co_await after_a_while(depth); }
    static task<> outer() { co_await lazily(2); }
};

}  // namespace

TEST_CASE("the chain goes from the innermost out also where another library's eager coroutines stand between ours") {
    const auto chain = where(eagers::outer);
    const auto fetched = chain.find(at(fetch_line, "fetch")), outer = chain.find("(outer)");
    const auto after = chain.find("(after_a_while)"), first = chain.find("(ours)"), last = chain.rfind("(ours)");
    CAPTURE(chain);
    REQUIRE(outer != chain.npos);
    CHECK(fetched < first);
    CHECK(first < last);
    CHECK(last < after);
    CHECK(after < outer);
    CHECK(count(chain, "(ours)") == 3);
}

TEST_CASE("a chain of 10,000 awaits is named whole") {
    struct coroutines {
        static task<> deep(int depth) {
            if (depth == 0) {
                co_await fetch();
            } else {
                co_await deep(depth - 1);
            }
        }
    };
    const auto error = time_out([] { return coroutines::deep(10'000); });
    CHECK(error.suspended_at().size() == 10'002);
}

TEST_CASE("a timeout of a task that keeps the worker thread busy says so and where it last resumed") {
    worker w({.cancel_grace = 50ms});
    const gate release;
    const opens_at_exit at_end(release);
    std::string text;
    bool stopped = true;
    // On a slow machine the time may be over before the task blocks; then it gets more.
    for (auto time = 20ms; text.empty() && time < 60s; time *= 2) {
        const gate blocking;
        try {
            w.run(hog(blocking, release), time);
        } catch (const timeout_error& e) {
            if (blocking.is_open()) {
                text = e.what();
                stopped = e.task_stopped();
            }
        }
    }
    CHECK_FALSE(stopped);
    CHECK_THAT(text, contains("task took longer than "));
    CHECK_THAT(text, contains("last resumed at " + at(hog_line, "hog")));
    CHECK(count(text, "suspended at") == 0);
}

TEST_CASE("a timeout of a task that has to wait for a busy worker thread names the task that keeps it busy") {
    worker w({.cancel_grace = 50ms});
    const gate blocking;
    const gate release;
    const opens_at_exit at_end(release);
    auto busy = w.submit(hog(blocking, release));
    blocking.wait();
    std::string text;
    bool stopped = true;
    try {
        w.run(load(), 20ms);
    } catch (const timeout_error& e) {
        text = e.what();
        stopped = e.task_stopped();
    }
    CHECK_FALSE(stopped);
    CHECK_THAT(text, contains("task took longer than 20 ms"));
    CHECK_THAT(text, contains("busy"));
    CHECK_THAT(text, contains("last resumed at " + at(hog_line, "hog")));
    release.open();
    busy.get();
}

TEST_CASE("a timeout before the start says nothing of where") {
    try {
        run_async_task(load(), 0s);
        FAIL("nothing was thrown");
    } catch (const timeout_error& e) {
        CHECK(e.suspended_at().empty());
        CHECK(e.task_stopped());
        CHECK(count(e.what(), "suspended") == 0);
    }
}

TEST_CASE("a timeout may look at what keeps the worker thread busy while that ends") {
    struct coroutines {
        static task<> block(std::chrono::microseconds time) {
            co_await yield();
            const auto until = std::chrono::steady_clock::now() + time;
            while (std::chrono::steady_clock::now() < until) {
            }
        }
    };
    worker impatient({.cancel_grace = 0ms});
    std::atomic<int> ended{0};
    std::atomic<int> timed_out{0};
    const int rounds = TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER ? 500 : 5'000;
    const auto call_repeatedly = [&] {
        for (int i = 0; i < rounds; ++i) {
            try {
                impatient.run(coroutines::block(std::chrono::microseconds(i % 60)), 30us);
                ++ended;
            } catch (const timeout_error&) {
                ++timed_out;
            }
        }
    };
    std::thread another(call_repeatedly);
    call_repeatedly();
    another.join();
    CHECK(ended + timed_out == 2 * rounds);
}

TEST_CASE("dump writes every task that is alive with its chain of awaits") {
    worker w;
    auto first = w.submit(load());
    auto second = w.submit(fetch());
    auto third = w.submit(fetch_all());
    w.run(yield());
    const auto text = dump(w);
    CHECK_THAT(text, contains(at(fetch_line, "fetch") + " <- " + at(load_line, "load")));
    CHECK_THAT(text, contains(at(fetch_all_line, "fetch_all")));
    // Alone, below load, and in both children of fetch_all.
    CHECK(count(text, at(fetch_line, "fetch")) == 4);
    CHECK(count(text, at(load_line, "load")) == 2);
}

TEST_CASE("dump is a tree: tasks in the order of their submission, below them their children, and what is cancelled") {
    struct coroutines {
        static task<> clean_up(const gate& begun, support::foreign_event& event) {
            co_await sincpro::shield(call_library(begun, event));
        }
    };
    worker w({.name = "tree"});
    const gate begun;
    support::foreign_event event;
    auto all = w.submit(fetch_all());
    auto cleaning = w.submit(coroutines::clean_up(begun, event));
    begun.wait();
    cleaning.cancel();
    w.run(yield());
    const auto text = dump(w);
    const auto cleaning_at = text.find("  task 2: suspended at async_stack_trace.test.cpp:");
    REQUIRE(cleaning_at != text.npos);
    CHECK(text.substr(0, cleaning_at) ==  //
          "worker \"tree\": 2 tasks\n"
          "  task 1: suspended at " +
              at(fetch_all_line, "fetch_all") + "\n" + "    child 1: suspended at " + at(fetch_line, "fetch") + " <- " +
              at(load_line, "load") + "\n" + "    child 2: suspended at " + at(fetch_line, "fetch") + "\n");
    CHECK_THAT(text.substr(cleaning_at), contains(" (clean_up), cancelled\n    child 1: suspended at " +
                                                  at(call_library_line, "call_library") + "\n"));
    event.set();
    cleaning.wait();
    CHECK_THAT(dump(w), contains("worker \"tree\": 1 task\n"));
}

TEST_CASE("a child whose beginning is queued is ready to run, and the chain begins above it") {
    struct coroutines {
        static task<> at_depth(int more) {
            if (more == 0) {
                co_await sincpro::when_all(yield());
            } else {
                co_await at_depth(more - 1);
            }
        }
    };
    support::hand_loop on;
    support::hand_job job(on, coroutines::at_depth(31));
    job.start();
    REQUIRE(on.posted() == 1);
    std::vector<sincpro::await_location> chain;
    sincpro::detail::append_trace(job, chain);
    CHECK(chain.size() == 32);
    std::string text;
    sincpro::detail::append_tree(job, text);
    CHECK_THAT(text, contains("\n    child 1: ready to run\n"));
    on.run();
    CHECK(job.has_ended());
}

TEST_CASE("dump forgets tasks that have ended") {
    worker w;
    auto first = w.submit(load());
    auto second = w.submit(fetch());
    w.run(yield());
    first.cancel();
    CHECK_THROWS_AS(first.get(), sincpro::operation_cancelled);
    w.run(yield());
    const auto text = dump(w);
    CHECK(count(text, at(load_line, "load")) == 0);
    CHECK(count(text, at(fetch_line, "fetch")) == 1);
}

TEST_CASE("dump may be called inside a task, in a to_thread function, and on any other thread") {
    worker w;
    auto waiting = w.submit(load());
    w.run(yield());
    const auto inside = w.run([&]() -> task<std::string> {
        co_await yield();
        co_return dump(w);
    });
    CHECK_THAT(inside, contains(at(load_line, "load")));
    const auto in_function = [&] { return dump(w); };
    CHECK_THAT(w.run(sincpro::to_thread(in_function)), contains(at(load_line, "load")));
    std::string elsewhere;
    std::thread([&] { elsewhere = dump(w); }).join();
    CHECK_THAT(elsewhere, contains(at(load_line, "load")));
    worker another;
    CHECK_THAT(another.run([&]() -> task<std::string> { co_return dump(w); }), contains(at(load_line, "load")));
}

TEST_CASE("dump of a worker that does not run neither starts it nor waits") {
    worker w;
    CHECK(count(dump(w), "async_stack_trace.test.cpp") == 0);
    CHECK_FALSE(w.is_running());
    w.run(yield());
    w.shutdown();
    CHECK(count(dump(w), "async_stack_trace.test.cpp") == 0);
    CHECK_FALSE(w.is_running());
}

TEST_CASE("when a task blocks the loop dump says which one, where it last resumed, and lists the others") {
    worker w;
    const gate blocking;
    const gate release;
    const opens_at_exit at_end(release);
    auto first = w.submit(load());
    auto second = w.submit(fetch_all());
    auto busy = w.submit(hog(blocking, release));
    blocking.wait();
    const auto text = dump(w);
    CHECK_THAT(text, contains(at(hog_line, "hog")));
    CHECK_THAT(text, contains("task 3: running on the worker thread, last resumed at " + at(hog_line, "hog")));
    CHECK_THAT(text, contains("(the worker thread does not answer: the running task blocks it)"));
    CHECK_THAT(text, contains(at(fetch_line, "fetch") + " <- " + at(load_line, "load")));
    CHECK_THAT(text, contains(at(fetch_all_line, "fetch_all")));
    release.open();
    busy.get();
    CHECK(count(dump(w), at(hog_line, "hog")) == 0);
}

TEST_CASE("dump of a loop that is blocked before its task's first co_await lists the others") {
    worker w;
    const gate blocking;
    const gate release;
    const opens_at_exit at_end(release);
    auto first = w.submit(load());
    auto busy = w.submit([&]() -> task<> {
        blocking.open();
        release.wait();
        co_return;
    });
    blocking.wait();
    const auto text = dump(w);
    CHECK_THAT(text, contains(at(load_line, "load")));
    CHECK_THAT(text, contains("task 2: running on the worker thread, not suspended since it was started\n"));
    release.open();
    busy.get();
}

TEST_CASE("dump of a blocked loop counts the tasks that it has not begun") {
    worker w;
    const gate blocking;
    const gate release;
    const opens_at_exit at_end(release);
    auto busy = w.submit(hog(blocking, release));
    blocking.wait();
    CHECK(count(dump(w), "not started") == 0);
    auto not_begun = w.submit(load());
    CHECK_THAT(dump(w), contains("  and 1 not started\n"));
    release.open();
    busy.get();
}

TEST_CASE("dump answers while a hook of on_cancel blocks the worker thread, and names it") {
    const gate begun, blocking, release;
    worker w;
    const opens_at_exit at_end(release);
    auto others = w.submit(load());
    auto future = w.submit([&]() -> task<> {
        const auto initiate = [&](sincpro::completion<> done) {
            done.on_cancel([&, done] {
                blocking.open();
                release.wait();
            });
            begun.open();
        };
        co_await sincpro::await_callback(initiate);
    });
    begun.wait();
    future.cancel();
    blocking.wait();
    const auto text = dump(w);
    CHECK_THAT(text, contains("(the worker thread does not answer: a hook of completion::on_cancel blocks it)"));
    CHECK_THAT(text, contains(at(load_line, "load")));
    try {
        w.run(load(), 1ms);
    } catch (const timeout_error& error) {
        CHECK_THAT(std::string(error.what()), contains("busy with a hook of completion::on_cancel"));
    }
    release.open();
    CHECK_THROWS_AS(future.get(), sincpro::operation_cancelled);
}

TEST_CASE("dump answers while on_unobserved_exception blocks the worker thread, and names it") {
    const gate blocking, release;
    worker w({.cancel_grace = 1ms, .on_unobserved_exception = [&](const std::exception_ptr&) {
                  blocking.open();
                  release.wait();
              }});
    const opens_at_exit at_end(release);
    auto others = w.submit(load());
    const auto fails = []() -> task<> {
        co_await yield();
        throw std::runtime_error("nobody sees this");
    };
    SECTION("of a future that was dropped before") { w.submit(fails()); }
    SECTION("of a future that is dropped afterwards") { w.submit(fails()).wait(); }
    blocking.wait();
    const auto text = dump(w);
    CHECK_THAT(text,
               contains("(the worker thread does not answer: worker_options::on_unobserved_exception blocks it)"));
    CHECK_THAT(text, contains(at(load_line, "load")));
    release.open();
}

TEST_CASE("dump may look at a blocked loop while what blocks it ends") {
    struct coroutines {
        static task<> block(std::chrono::microseconds time, gate blocking) {
            co_await sincpro::when_all(block_child(time, std::move(blocking)), yield());
        }
        static task<> block_child(std::chrono::microseconds time, gate blocking) {
            co_await yield();
            blocking.open();
            const auto until = std::chrono::steady_clock::now() + time;
            while (std::chrono::steady_clock::now() < until) {
            }
        }
    };
    worker w;
    for (int round = 0; round < 10; ++round) {
        const gate blocking;
        // dump() waits 0.1 s for an answer.
        auto busy = w.submit(coroutines::block(99'500us + round * 100us, blocking));
        auto waiting = w.submit(load());
        blocking.wait();
        CHECK_FALSE(dump(w).empty());
        busy.get();
        waiting.cancel();
        CHECK_THROWS_AS(waiting.get(), sincpro::operation_cancelled);
    }
}

TEST_CASE("dump may be called while tasks come and go and while the worker is shut down") {
    struct coroutines {
        static task<int> busy(int turns) {
            for (int i = 0; i < turns; ++i) {
                const auto pair = co_await sincpro::when_all(yield(), load_and_stop());
                static_cast<void>(pair);
            }
            co_return turns;
        }
        static task<> load_and_stop() {
            try {
                co_await sincpro::with_timeout(load(), 10us);
            } catch (const timeout_error&) {
            }
        }
        static task<> block_a_little() {
            co_await yield();
            const auto until = std::chrono::steady_clock::now() + 20us;
            while (std::chrono::steady_clock::now() < until) {
            }
        }
    };
    worker w;
    std::atomic<bool> stop{false};
    std::atomic<std::size_t> dumps{0};
    std::vector<std::thread> watchers;
    for (int i = 0; i < 2; ++i) {
        watchers.emplace_back([&] {
            while (!stop) {
                dumps += dump(w).empty() ? 0U : 1U;
            }
        });
    }
    const int rounds = TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER ? 100 : 1'000;
    int ended = 0;
    for (int round = 0; round < rounds; ++round) {
        std::vector<sincpro::task_future<int>> several;
        for (int i = 0; i < 5; ++i) {
            several.push_back(w.submit(coroutines::busy(3)));
        }
        std::vector<sincpro::task_future<void>> blocking;
        for (int i = 0; i < 5; ++i) {
            blocking.push_back(w.submit(coroutines::block_a_little()));
        }
        if (round % 50 == 49) {
            w.shutdown();
        }
        for (auto& future : several) {
            try {
                future.get();
            } catch (const sincpro::operation_cancelled&) {
            }
            ++ended;
        }
        for (auto& future : blocking) {
            try {
                future.get();
            } catch (const sincpro::operation_cancelled&) {
            }
        }
    }
    stop = true;
    for (auto& watcher : watchers) {
        watcher.join();
    }
    CHECK(ended == 5 * rounds);
    CHECK(dumps > 0);
}

#line 77 "/home/somebody/sincpro/async_worker/app.cpp"
task<> sleep_in_a_folder_of_that_name() { co_await sleep_for(1h); }

TEST_CASE("a path like the library's own does not hide a user's frame") {
    worker w;
    const auto sleeping = w.submit(sleep_in_a_folder_of_that_name());
    w.run(yield());
    CHECK_THAT(dump(w), contains("app.cpp:77"));
}
