// Each allocation must reach operator new, which is replaced below.
#define SINCPRO_ASYNC_WORKER_NO_RECYCLING

#include <sincpro/async_worker.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/counted_new.hpp"
#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/faults.hpp"
#include "support/foreign.hpp"

// The n-th allocation, or the n-th copy or move of a value, fails: for every n, until a run gets through without.

namespace {

using support::alive;
using support::allocation;
using namespace std::chrono_literals;
using namespace sincpro;
using support::comes_true;
using support::counted;
using support::failing;
using support::fault;
using support::gate;
using support::lifetimes;
using support::on;
using support::opens_at_exit;
using support::verdict;

/// What a program under faults works with.
struct bench {
    sincpro::worker& worker;
    const lifetimes& objects;
    verdict& is;
};
using program = void (*)(const bench&);
struct named_program {
    const char* name;
    program run;
};

struct expected_error : std::exception {};

task<int> answer() {
    co_await yield();
    co_return 42;
}
task<int> answers_with(int value, [[maybe_unused]] counted object) {
    co_await yield();
    co_return value;
}
task<int> fails([[maybe_unused]] counted object) {
    co_await yield();
    throw expected_error();
}
task<int> until_cancelled([[maybe_unused]] counted object) {
    co_await sleep_for(std::chrono::hours::max());
    co_return 0;
}
task<int> nested(int depth, counted object) {
    if (depth == 0) co_return co_await answers_with(1, std::move(object));
    const int below = co_await nested(depth - 1, object);
    co_return below + 1;
}

/// What `f` ends with: true for an E, false for a value. An allocation that failed goes through.
template <class E, class F>
bool throws(F f) {
    try {
        static_cast<void>(f());
    } catch (const E&) {
        return true;
    }
    return false;
}

// Each of these either does what it should, or throws what failed.

void value(const bench& b) { b.is.expect(b.worker.run(answers_with(42, counted(b.objects))) == 42); }

void exception(const bench& b) {
    b.is.expect(throws<expected_error>([&] { return b.worker.run(fails(counted(b.objects))); }));
}

void callable(const bench& b) {
    b.is.expect(b.worker.run([object = counted(b.objects)] { return answers_with(7, object); }, 1h) == 7);
}

void other_librarys_awaitable(const bench& b) {
    const support::ready_awaiter<counted> lvalue{counted(b.objects)};
    static_cast<void>(b.worker.run(lvalue));
    static_cast<void>(b.worker.run(support::ready_awaiter<counted>(counted(b.objects))));
    b.worker.run(support::resumes_inline<>());
    b.worker.run([]() -> task<> { co_await support::resumes_on_new_thread<>(); });
}

void deep_nesting(const bench& b) { b.is.expect(b.worker.run(nested(70, counted(b.objects))) == 71); }

void submitted(const bench& b) {
    task_future<int> first = b.worker.submit(answers_with(1, counted(b.objects)));
    task_future<int> second = b.worker.submit(until_cancelled(counted(b.objects)));
    { const task_future<int> dropped = b.worker.submit(fails(counted(b.objects))); }
    second.cancel();
    b.is.expect(first.get() == 1);
    b.is.expect(throws<operation_cancelled>([&] { return second.get(); }));
}

task<int> all_of(lifetimes objects) {
    const auto [one, two, three] = co_await when_all(
        answers_with(1, counted(objects)), [] { return answer(); }, answers_with(3, counted(objects)));
    std::vector<task<int>> many;
    for (int i = 0; i < 4; ++i) many.push_back(answers_with(i, counted(objects)));
    const std::vector<int> values = co_await when_all(std::move(many));
    co_return one + two + three + values[3];
}
void all(const bench& b) { b.is.expect(b.worker.run(all_of(b.objects)) == 1 + 42 + 3 + 3); }

void all_with_a_failure(const bench& b) {
    b.is.expect(throws<expected_error>([&] {
        return b.worker.run(when_all(until_cancelled(counted(b.objects)), fails(counted(b.objects)),
                                     until_cancelled(counted(b.objects))));
    }));
    std::vector<task<int>> many;
    many.push_back(fails(counted(b.objects)));
    many.push_back(until_cancelled(counted(b.objects)));
    b.is.expect(throws<expected_error>([&] { return b.worker.run(when_all(std::move(many))); }));
}

task<> ends_at_once() { co_return; }
void all_stopped_while_starting(const bench& b) {
    // The first ends before the others are begun, so those are never begun.
    b.worker.run([]() -> task<> {
        const auto first = co_await when_any(ends_at_once(), answer(), answer());
        static_cast<void>(first);
    });
}

void any(const bench& b) {
    const auto first = b.worker.run(when_any(until_cancelled(counted(b.objects)), answers_with(2, counted(b.objects))));
    b.is.expect(first.index() == 1 || first.index() == 0);
    std::vector<task<int>> many;
    for (int i = 0; i < 3; ++i) many.push_back(until_cancelled(counted(b.objects)));
    many.push_back(answers_with(5, counted(b.objects)));
    const auto [index, value] = b.worker.run(when_any(std::move(many)));
    b.is.expect(index == 3 && value == 5);
}

void callback_at_once(const bench& b) {
    b.is.expect(b.worker.run(await_callback<int>([](completion<int> done) { done(3); })) == 3);
}

void callback_from_another_thread(const bench& b) {
    const auto begin = [](completion<int> done) { std::thread([done] { done(4); }).detach(); };
    b.is.expect(b.worker.run(await_callback<int>(begin)) == 4);
}

void callback_that_never_comes(const bench& b) {
    const auto drop = [](completion<int>) {};
    b.is.expect(throws<std::future_error>([&] { return b.worker.run(await_callback<int>(drop)); }));
    std::vector<completion<int>> kept;
    kept.reserve(1);
    const auto keep = [&](completion<int> done) { kept.push_back(std::move(done)); };
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(with_timeout(await_callback<int>(keep), 50us)); }));
}

void callback_that_is_aborted(const bench& b) {
    const auto begin = [object = std::make_shared<counted>(b.objects)](completion<int> done) {
        const completion<int> same = done;
        done.on_cancel([same, object] { same.fail(std::make_exception_ptr(expected_error())); });
    };
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(with_timeout(await_callback<int>(begin), 50us)); }));
}

int adds(int a, const counted&) { return a + 1; }

void threads(const bench& b) {
    const auto both =
        b.worker.run(when_all(to_thread(adds, 1, counted(b.objects)), to_thread(adds, 2, counted(b.objects))));
    b.is.expect(std::get<0>(both) == 2 && std::get<1>(both) == 3);
    b.is.expect(throws<expected_error>([&] { return b.worker.run(to_thread([] { throw expected_error(); })); }));
}

void abandoned_thread(const bench& b) {
    const gate go;
    const opens_at_exit open_at_exit(go);
    const auto blocks = [](const gate& g, const counted&) { g.wait(); };
    b.is.expect(throws<timeout_error>(
        [&] { b.worker.run(with_timeout(to_thread(abandon_on_cancel, blocks, go, counted(b.objects)), 50us)); }));
}

void timeouts(const bench& b) {
    b.is.expect(b.worker.run(with_timeout(answers_with(6, counted(b.objects)), 1h)) == 6);
    b.is.expect(
        throws<timeout_error>([&] { return b.worker.run(with_timeout(until_cancelled(counted(b.objects)), 50us)); }));
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(with_timeout(answer(), 0s)); }));
}

void deadline_of_run(const bench& b) {
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(until_cancelled(counted(b.objects)), 50us); }));
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(answer(), 0s); }));
}

task<int> ends_otherwise(counted object) {
    try {
        co_await until_cancelled(std::move(object));
    } catch (const operation_cancelled&) {
    }
    throw expected_error();
}
void deadline_of_run_and_another_exception(const bench& b) {
    b.is.expect(throws<timeout_error>([&] { return b.worker.run(ends_otherwise(counted(b.objects)), 50us); }));
}

task<> holds(semaphore& s, [[maybe_unused]] counted object) {
    const semaphore::permit held = co_await s.acquire();
    co_await yield();
}
void permits(const bench& b) {
    semaphore one(1);
    b.worker.run(
        when_all(holds(one, counted(b.objects)), holds(one, counted(b.objects)), holds(one, counted(b.objects))));
    b.worker.run(holds(one, counted(b.objects)), 1h);
}

void shield_and_result(const bench& b) {
    const auto caught = b.worker.run(as_result(fails(counted(b.objects))));
    b.is.expect(!caught);
    b.is.expect(b.worker.run(shield(answers_with(8, counted(b.objects)))) == 8);
}

#if defined(__cpp_lib_jthread)
void stop_token(const bench& b) {
    std::stop_source stop;
    b.is.expect(b.worker.run(stop_when(answers_with(9, counted(b.objects)), stop.get_token())) == 9);
    task_future<int> stopped = b.worker.submit(stop_when(until_cancelled(counted(b.objects)), stop.get_token()));
    stop.request_stop();
    b.is.expect(throws<operation_cancelled>([&] { return stopped.get(); }));
    b.is.expect(throws<operation_cancelled>([&] { return b.worker.run(stop_when(answer(), stop.get_token())); }));
}
#endif

#if !defined(_WIN32)
void descriptors(const bench& b) {
    support::socket_pair sockets;
    support::write_byte(sockets.there.get());
    b.worker.run(wait_readable(sockets.here.get()));
    b.worker.run(wait_writable(sockets.here.get()));
    support::drain(sockets.here.get());
    b.is.expect(throws<timeout_error>([&] { b.worker.run(with_timeout(wait_readable(sockets.here.get()), 50us)); }));
    b.is.expect(throws<std::system_error>([&] { b.worker.run(wait_readable(-1)); }));
}
#endif

void shutdown(const bench& b) {
    task_future<int> waits = b.worker.submit(until_cancelled(counted(b.objects)));
    task_future<int> waits_in_children = b.worker.submit([&objects = b.objects]() -> task<int> {
        const auto both = co_await when_all(until_cancelled(counted(objects)), until_cancelled(counted(objects)));
        co_return std::get<0>(both);
    });
    b.worker.shutdown();
    b.is.expect(waits.wait_for(0s) == std::future_status::ready);
    b.is.expect(throws<operation_cancelled>([&] { return waits_in_children.get(); }));
    b.is.expect(throws<operation_cancelled>([&] { return waits.get(); }));
    b.is.expect(b.worker.run(answer()) == 42);
}

/// Waits until a task has opened its gate, or has ended without.
template <class T>
void wait_for_begin(const gate& begun, const task_future<T>& of) {
    while (!begun.is_open() && of.wait_for(0s) != std::future_status::ready) std::this_thread::yield();
}

void cancelled_before_it_began(const bench& b) {
    const gate begun, go;
    const opens_at_exit open_at_exit(go);
    task_future<void> blocks = b.worker.submit([begun, go]() -> task<> {
        begun.open();
        go.wait();
        co_return;
    });
    wait_for_begin(begun, blocks);
    task_future<int> second = b.worker.submit(until_cancelled(counted(b.objects)));
    second.cancel();
    go.open();
    b.is.expect(throws<operation_cancelled>([&] { return second.get(); }));
    blocks.get();
}

void shutdown_while_a_task_blocks(const bench& b) {
    worker stubborn({.name = "stubborn", .shutdown_grace = std::chrono::milliseconds(0)});
    const gate begun, go;
    const opens_at_exit open_at_exit(go);
    task_future<int> blocks = stubborn.submit([begun, go, object = counted(b.objects)]() -> task<int> {
        begun.open();
        go.wait();
        co_return 1;
    });
    wait_for_begin(begun, blocks);
    if (!begun.is_open()) blocks.get();
    task_future<int> behind = stubborn.submit(answers_with(1, counted(b.objects)));
    stubborn.shutdown();
    b.is.expect(throws<worker_stopped>([&] { return behind.get(); }));
    b.is.expect(throws<worker_stopped>([&] { return blocks.get(); }));
}

void dump(const bench& b) {
    task_future<int> waits = b.worker.submit(until_cancelled(counted(b.objects)));
    std::ostringstream out;
    b.worker.dump(out);
    waits.cancel();
}

void restarts(const bench& b) {
    for (int i = 0; i < 2; ++i) {
        b.is.expect(b.worker.run(answers_with(i, counted(b.objects))) == i);
        b.worker.shutdown();
    }
    worker other({.name = "a name that is too long to be kept in place", .on_unobserved_exception = [](auto&&) {}});
    b.is.expect(other.run(answer()) == 42);
}

constexpr named_program programs[] = {
    {"value", value},
    {"exception", exception},
    {"callable", callable},
    {"other library's awaitable", other_librarys_awaitable},
    {"deep nesting", deep_nesting},
    {"submitted", submitted},
    {"when_all", all},
    {"when_all, one fails", all_with_a_failure},
    {"when_any, the first ends at once", all_stopped_while_starting},
    {"when_any", any},
    {"callback at once", callback_at_once},
    {"callback from another thread", callback_from_another_thread},
    {"callback that never comes", callback_that_never_comes},
    {"callback that is aborted", callback_that_is_aborted},
    {"to_thread", threads},
    {"to_thread, abandoned", abandoned_thread},
    {"with_timeout", timeouts},
    {"timeout of run", deadline_of_run},
    {"timeout of run, another exception", deadline_of_run_and_another_exception},
    {"semaphore", permits},
    {"shield and as_result", shield_and_result},
#if defined(__cpp_lib_jthread)
    {"stop_when", stop_token},
#endif
#if !defined(_WIN32)
    {"descriptors", descriptors},
#endif
    {"shutdown", shutdown},
    {"cancelled before it began", cancelled_before_it_began},
    {"shutdown while a task blocks", shutdown_while_a_task_blocks},
    {"dump", dump},
    {"restarts", restarts},
};

support::fault copying;
struct copy_failed {};

/// A value whose copies and moves may throw, and that counts how many of it are alive.
class fragile {
public:
    explicit fragile(int v, const counted& o) : value(v), object_(o) {}
    fragile(const fragile& other) : fragile(other.checked().value, other.object_) {}
    fragile(fragile&& other) : fragile(other.checked().value, other.object_) {}
    fragile& operator=(fragile&&) = delete;
    int value;

private:
    const fragile& checked() const {
        if (copying.strikes()) throw copy_failed();
        return *this;
    }
    counted object_;
};

task<fragile> fragile_value(int value, counted object) {
    co_await yield();
    co_return fragile(value, object);
}
task<int> keeps(fragile parameter) {
    co_await yield();
    co_return parameter.value;
}
task<int> throws_fragile(int value, counted object) {
    co_await yield();
    throw fragile(value, object);
}

/// Another library's awaitable that can be copied and moved, not always with success.
class fragile_awaitable {
public:
    explicit fragile_awaitable(fragile f) : value_(std::move(f)) {}
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    fragile await_resume() { return std::move(value_); }

private:
    fragile value_;
};

void fragile_results(const bench& b) {
    b.is.expect(b.worker.run(fragile_value(1, counted(b.objects))).value == 1);
    b.is.expect(b.worker.run(fragile_value(2, counted(b.objects)), 1h).value == 2);
#if !defined(_WIN32)  // where std::promise hangs after a move that throws
    b.is.expect(b.worker.submit(fragile_value(3, counted(b.objects))).get().value == 3);
    static_cast<void>(b.worker.submit(fragile_value(4, counted(b.objects))));
#endif
}
void fragile_arguments(const bench& b) {
    const fragile f(5, counted(b.objects));
    b.is.expect(b.worker.run(keeps(f)) == 5);
    b.is.expect(b.worker.run([f] { return keeps(f); }) == 5);
    const fragile_awaitable lvalue(f);
    b.is.expect(b.worker.run(lvalue).value == 5);
    b.is.expect(b.worker.run(fragile_awaitable(f)).value == 5);
}
void fragile_children(const bench& b) {
    const auto both =
        b.worker.run(when_all(fragile_value(1, counted(b.objects)), fragile_value(2, counted(b.objects))));
    b.is.expect(std::get<0>(both).value == 1 && std::get<1>(both).value == 2);
#if !defined(_GLIBCXX_RELEASE) || _GLIBCXX_RELEASE >= 12  // a std::variant of 11 destroys what it could not move
    b.is.expect(
        b.worker.run(when_any(fragile_value(3, counted(b.objects)), until_cancelled(counted(b.objects)))).index() == 0);
#endif
    std::vector<task<fragile>> many;
    for (int i = 0; i < 3; ++i) many.push_back(fragile_value(i, counted(b.objects)));
    b.is.expect(b.worker.run(when_all(std::move(many))).back().value == 2);
    many.clear();
    many.push_back(fragile_value(4, counted(b.objects)));
    b.is.expect(b.worker.run(when_any(std::move(many))).second.value == 4);
    b.is.expect(b.worker.run(with_timeout(shield(fragile_value(5, counted(b.objects))), 1h)).value == 5);
    auto caught = b.worker.run(as_result(fragile_value(6, counted(b.objects))));
    b.is.expect(std::move(caught).value().value == 6);
}
void fragile_callbacks(const bench& b) {
    const fragile f(7, counted(b.objects));
    const auto begin = [f](completion<fragile> done) {
        try {
            done(f);
        } catch (const copy_failed&) {
            done.fail(std::current_exception());
        }
    };
    b.is.expect(b.worker.run(await_callback<fragile>(begin)).value == 7);
}
void fragile_value_of_a_kept_completion(const bench& b) {
    std::vector<completion<fragile>> kept;
    kept.reserve(1);
    const auto begin = [&](const completion<fragile>& done) {
        kept.push_back(done);
        done(fragile(10, counted(b.objects)));
    };
    try {
        b.is.expect(b.worker.run(await_callback<fragile>(begin)).value == 10);
    } catch (const copy_failed&) {
        b.is.expect(b.objects.alive() == 0);
        throw;
    }
    b.is.expect(b.objects.alive() == 0);
}
void fragile_functions(const bench& b) {
    const fragile f(8, counted(b.objects));
    b.is.expect(b.worker.run(to_thread([](const fragile& a) { return a; }, f)).value == 8);
    const auto reads = [f] { return f.value; };
    b.is.expect(b.worker.run(to_thread(abandon_on_cancel, reads)) == 8);
}
void fragile_exceptions(const bench& b) {
    b.is.expect(throws<fragile>([&] { return b.worker.run(throws_fragile(9, counted(b.objects))); }));
    b.is.expect(throws<fragile>([&] {
        return b.worker.run(when_all(throws_fragile(9, counted(b.objects)), until_cancelled(counted(b.objects))));
    }));
    b.is.expect(throws<fragile>(
        [&] { return b.worker.run(to_thread([](fragile a) -> int { throw a; }, fragile(1, counted(b.objects)))); }));
}

constexpr named_program fragile_programs[] = {
    {"results", fragile_results},
    {"arguments", fragile_arguments},
    {"children", fragile_children},
    {"callbacks", fragile_callbacks},
    {"kept completion", fragile_value_of_a_kept_completion},
    {"functions", fragile_functions},
    {"exceptions", fragile_exceptions},
};

/// Runs a program again and again, with the fault one call later each time, until it gets through without. `is_ours` says
/// whether an exception is what the fault threw. How many faults struck.
template <class IsOurs>
long strike_each(fault& f, const named_program& p, on where, failing how, IsOurs is_ours) {
    long struck = 0;
    for (long n = 0;; ++n) {
        const long before = alive.load();
        verdict is;
        bool foreign_exception = false, gone = false;
        int after = 0;
        long now = 0;
        {
            const lifetimes objects;
            {
                worker w;
                f.arm(n, where, how);
                try {
                    p.run({w, objects, is});
                } catch (...) {
                    foreign_exception = !is_ours();
                }
                now = f.disarm();
                after = w.run(answer());
            }
            gone = objects.wait_until_gone();
        }
        const bool leaked = !comes_true([&] { return alive.load() <= before; });
        const unsigned wrong_at = is.wrong_at();
        if (foreign_exception || after != 42 || !gone || leaked || wrong_at != 0) {
            CAPTURE(p.name, n, static_cast<int>(where), static_cast<int>(how), wrong_at);
            CHECK(!foreign_exception);
            CHECK(after == 42);
            CHECK(gone);
            CHECK(!leaked);
            CHECK(wrong_at == 0);
            return struck;
        }
        struck += now;
        if (now == 0) return struck;
    }
}

template <class IsOurs, class Programs>
void strike_everywhere(fault& f, const Programs& all_programs, const char* what, IsOurs is_ours) {
    long struck = 0;
    for (const named_program& p : all_programs) {
        // Once without: what the standard library keeps for ever is there then.
        f.arm(1'000'000, on::all, failing::once);
        f.disarm();
        {
            const lifetimes objects;
            verdict is;
            worker w;
            p.run({w, objects, is});
            INFO(p.name);
            CHECK(is.wrong_at() == 0);
        }
        for (const on where : {on::caller, on::others, on::all}) {
            for (const failing how : {failing::once, failing::from_then_on}) {
                struck += strike_each(f, p, where, how, is_ours);
            }
        }
    }
    std::cout << struck << " times " << what << '\n';
    CHECK(struck > 100);
}

template <class E>
bool current_exception_is_a() {
    try {
        throw;
    } catch (const E&) {
        return true;
    } catch (...) {
        return false;
    }
}

}  // namespace

TEST_CASE(
    "an allocation that fails, on any thread, reaches the caller; nothing leaks or hangs, and the next call works") {
    strike_everywhere(allocation, programs, "an allocation failed", current_exception_is_a<std::bad_alloc>);
}

TEST_CASE("a copy or a move that throws, on any thread, reaches the caller; nothing leaks or hangs") {
    strike_everywhere(copying, fragile_programs, "a copy or a move threw", current_exception_is_a<copy_failed>);
}
