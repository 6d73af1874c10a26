#pragma once

#include <sincpro/async_worker.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/foreign.hpp"

// Random trees of all operations, and a simple model that says what each may end with.

namespace random_programs {

using namespace std::chrono_literals;
using namespace sincpro;

/// Where a program's choices come from: a seed, or the bytes of a fuzzer.
class choices {
public:
    explicit choices(std::uint64_t seed) : random_(seed) {}
    choices(const std::uint8_t* bytes, std::size_t size) : bytes_(bytes, bytes + size), from_bytes_(true) {}

    unsigned below(unsigned n) {
        if (!from_bytes_) return static_cast<unsigned>(random_() % n);
        if (next_ == bytes_.size()) return 0;
        return bytes_[next_++] % n;
    }

private:
    std::mt19937_64 random_;
    std::vector<std::uint8_t> bytes_;
    std::size_t next_ = 0;
    bool from_bytes_ = false;
};

/// A set of outcomes: one bit for each value 0 to 7, and for each kind of exception.
using outcomes = unsigned;
constexpr outcomes all_values = 0xff, error_a = 1U << 8, error_b = 1U << 9, cancelled = 1U << 10, timed_out = 1U << 11,
                   broken = 1U << 12, stopped = 1U << 13, anything_else = 1U << 14;

constexpr outcomes value(int v) { return 1U << (v & 7); }
constexpr outcomes values_of(outcomes o) { return o & all_values; }
constexpr outcomes errors_of(outcomes o) { return o & ~all_values; }
constexpr outcomes sums(outcomes a, outcomes b) {
    outcomes all = 0;
    for (int i = 0; i < 8; ++i) {
        if ((a & value(i)) == 0) continue;
        for (int k = 0; k < 8; ++k) {
            if ((b & value(k)) != 0) all |= value(i + k);
        }
    }
    return all;
}

inline std::string to_text(outcomes o) {
    static constexpr const char* names[] = {"error_a", "error_b", "cancelled", "timed_out", "broken", "stopped", "?"};
    std::string text;
    for (int i = 0; i < 15; ++i) {
        if ((o >> i & 1U) != 0) text += (text.empty() ? "" : " | ") + (i < 8 ? std::to_string(i) : names[i - 8]);
    }
    return '{' + text + '}';
}

enum class kind : unsigned char {
    // leaves
    returns,
    throws_a,
    throws_b,
    sleeps,
    yields,
    never,
    blocks,
    foreign_inline,
    foreign_thread,
    foreign_refuses,
    callback_now,
    callback_later,
    callback_fails,
    callback_never,
    callback_dropped,
    callback_aborted,
    thread_returns,
    thread_throws,
    thread_waits,
    thread_abandoned,
    thread_runs_task,
    readable_now,
    readable_later,
    readable_never,
    // of one
    calls,
    deep,
    timeout_long,
    timeout_short,
    timeout_zero,
    stop_never,
    stop_before,
    stop_later,
    shields,
    captures,
    catches,
    // of two or more
    sequence,
    cleans_up,
    all_tuple,
    all_vector,
    any_tuple,
    any_vector,
    permits,
    count
};
constexpr auto first_of_one = kind::calls, first_of_two = kind::sequence;
inline constexpr const char* kind_names[] = {"returns",
                                             "throws_a",
                                             "throws_b",
                                             "sleeps",
                                             "yields",
                                             "never",
                                             "blocks",
                                             "foreign_inline",
                                             "foreign_thread",
                                             "foreign_refuses",
                                             "callback_now",
                                             "callback_later",
                                             "callback_fails",
                                             "callback_never",
                                             "callback_dropped",
                                             "callback_aborted",
                                             "thread_returns",
                                             "thread_throws",
                                             "thread_waits",
                                             "thread_abandoned",
                                             "thread_runs_task",
                                             "readable_now",
                                             "readable_later",
                                             "readable_never",
                                             "calls",
                                             "deep",
                                             "timeout_long",
                                             "timeout_short",
                                             "timeout_zero",
                                             "stop_never",
                                             "stop_before",
                                             "stop_later",
                                             "shields",
                                             "captures",
                                             "catches",
                                             "sequence",
                                             "cleans_up",
                                             "all_tuple",
                                             "all_vector",
                                             "any_tuple",
                                             "any_vector",
                                             "permits"};
static_assert(std::size(kind_names) == static_cast<std::size_t>(kind::count));

struct node {
    kind is = kind::returns;
    int v = 0;
    std::chrono::microseconds time{0};
    std::vector<node> of;

    // The model.
    outcomes alone = 0;       // if nobody cancels it
    outcomes if_stopped = 0;  // if somebody does, at any time, before its first step too: the former among them
    bool may_hang = false;    // unless it is cancelled

    std::string text() const {
        std::string all = kind_names[static_cast<std::size_t>(is)];
        all += '(' + std::to_string(v) + (time.count() != 0 ? ", " + std::to_string(time.count()) + "us" : "");
        for (const node& n : of) all += ", " + n.text();
        return all + ')';
    }
};

/// Fills in the model of a node whose children have theirs.
inline void predict(node& n) {
    const outcomes v = value(n.v);
    const auto leaf = [&](outcomes alone, outcomes more, bool may_hang = false) {
        n.alone = alone;
        n.if_stopped = alone | more;
        n.may_hang = may_hang;
    };
    const auto child = [&](std::size_t i) -> const node& { return n.of[i]; };
    const auto errors_of_all = [&](outcomes node::*which) {
        outcomes all = 0;
        for (const node& c : n.of) all |= errors_of(c.*which);
        return all;
    };
    // A failure takes the place of a cancellation that came first: one that a child ends with because it is stopped then.
    const auto instead_of_a_cancellation = [&] {
        outcomes failures = 0;
        bool one_is_cancelled = false;
        for (const node& c : n.of) {
            one_is_cancelled = one_is_cancelled || (c.alone & cancelled) != 0;
            failures |= errors_of(c.if_stopped) & ~cancelled;
        }
        return one_is_cancelled ? failures : outcomes{0};
    };
    switch (n.is) {
        case kind::returns:
        case kind::blocks:
        case kind::foreign_inline:
        case kind::foreign_thread:
        case kind::foreign_refuses: return leaf(v, 0);
        case kind::throws_a: return leaf(error_a, 0);
        case kind::throws_b: return leaf(error_b, 0);
        case kind::sleeps:
        case kind::yields:
        case kind::callback_now:
        case kind::callback_later:
        case kind::thread_returns:
        case kind::thread_runs_task:
        case kind::thread_abandoned:
        case kind::readable_now:
        case kind::readable_later: return leaf(v, cancelled);
        case kind::callback_fails:
        case kind::thread_throws: return leaf(error_a, cancelled);
        case kind::callback_dropped: return leaf(broken, cancelled);
        case kind::callback_aborted:
            return leaf(0, n.v % 2 == 0 ? cancelled : cancelled | v,
                        true);  // the answer to the abortion, if it had begun
        case kind::never:
        case kind::callback_never:
        case kind::thread_waits:
        case kind::readable_never: return leaf(0, cancelled, true);

        case kind::calls:
        case kind::deep: return leaf(child(0).alone, child(0).if_stopped, child(0).may_hang);
        case kind::timeout_long:
        case kind::stop_never: return leaf(child(0).alone, child(0).if_stopped | cancelled, child(0).may_hang);
        case kind::timeout_short: {
            const outcomes late = child(0).if_stopped;
            return leaf(child(0).alone | (late & ~cancelled) | ((late & cancelled) != 0 ? timed_out : 0),
                        late | cancelled);
        }
        case kind::timeout_zero: return leaf(timed_out, cancelled);
        case kind::stop_before: return leaf(cancelled, cancelled);
        case kind::stop_later: return leaf(child(0).if_stopped | cancelled, cancelled);
        case kind::shields: return leaf(child(0).alone, 0);
        case kind::captures: {
            const auto captured = [&](outcomes o) { return values_of(o) | (errors_of(o) != 0 ? v : 0); };
            // What was cancelled is this flow, or something in it that was stopped by itself.
            return leaf(captured(child(0).alone), captured(child(0).if_stopped) | (child(0).if_stopped & cancelled),
                        child(0).may_hang);
        }
        case kind::catches: {
            const auto caught = [&](outcomes o) {
                return values_of(o) | (o & cancelled) | ((errors_of(o) & ~cancelled) != 0 ? v : 0);
            };
            return leaf(caught(child(0).alone), caught(child(0).if_stopped), child(0).may_hang);
        }
        case kind::sequence: {
            const auto both = [](outcomes a, outcomes b) {
                return errors_of(a) | (values_of(a) != 0 ? errors_of(b) | sums(a, b) : 0);
            };
            return leaf(both(child(0).alone, child(1).alone), both(child(0).if_stopped, child(1).if_stopped),
                        child(0).may_hang || (values_of(child(0).alone) != 0 && child(1).may_hang));
        }
        case kind::cleans_up: {
            const outcomes clean = child(1).alone;
            const auto both = [&](outcomes a) { return errors_of(clean) | (values_of(clean) != 0 ? a : 0); };
            return leaf(both(child(0).alone), both(child(0).if_stopped), child(0).may_hang);
        }
        case kind::all_tuple:
        case kind::all_vector:
        case kind::permits: {
            const auto sum_of_all = [&](outcomes node::*which) {
                outcomes sum = value(0);
                for (const node& c : n.of) sum = sums(sum, values_of(c.*which));
                return sum;
            };
            bool hangs = false;
            for (const node& c : n.of) hangs = hangs || c.may_hang;
            return leaf(errors_of_all(&node::alone) | instead_of_a_cancellation() | sum_of_all(&node::alone),
                        errors_of_all(&node::if_stopped) | cancelled | sum_of_all(&node::if_stopped), hangs);
        }
        case kind::any_tuple:
        case kind::any_vector: {
            outcomes alone = instead_of_a_cancellation(), if_stopped = cancelled;
            bool hangs = true;
            int index = 0;
            for (const node& c : n.of) {
                alone |= errors_of(c.alone) | sums(values_of(c.alone), value(index));
                if_stopped |= errors_of(c.if_stopped) | sums(values_of(c.if_stopped), value(index));
                hangs = hangs && c.may_hang;
                ++index;
            }
            return leaf(alone, if_stopped, hangs);
        }
        case kind::count: break;
    }
}

inline node generate(choices& from, int depth) {
    const auto some = [&](kind first, kind end) {
        const auto begin = static_cast<unsigned>(first);
        return static_cast<kind>(begin + from.below(static_cast<unsigned>(end) - begin));
    };
    node n;
    const unsigned size = depth <= 0 ? 0 : from.below(4);
    n.is = size == 0   ? some(kind::returns, first_of_one)
           : size == 1 ? some(first_of_one, first_of_two)
                       : some(first_of_two, kind::count);
    n.v = static_cast<int>(from.below(8));
    static constexpr std::chrono::microseconds times[] = {0us, 0us, 0us, 20us, 100us, 300us};
    n.time = times[from.below(std::size(times))];
    if (size == 1) n.of.push_back(generate(from, depth - 1));
    if (size >= 2) {
        unsigned children = 2;
        if (n.is == kind::all_vector) children = from.below(5);
        if (n.is == kind::any_vector) children = 1 + from.below(4);
        if (n.is == kind::all_tuple || n.is == kind::any_tuple) children = 3;
        for (unsigned i = 0; i < children; ++i) n.of.push_back(generate(from, depth - 1));
    }
    // What cannot be cancelled must end by itself.
    const auto bound = [](node& c) {
        if (!c.may_hang) return;
        node bounded;
        bounded.is = kind::timeout_short;
        bounded.time = 50us;
        bounded.of.push_back(std::move(c));
        predict(bounded);
        c = std::move(bounded);
    };
    if (n.is == kind::shields) bound(n.of[0]);
    if (n.is == kind::cleans_up) bound(n.of[1]);
#if !defined(__cpp_lib_jthread)
    if (n.is == kind::stop_never || n.is == kind::stop_before || n.is == kind::stop_later) n.is = kind::calls;
#endif
    predict(n);
    return n;
}

/// A thread that does things a little later, in the order in which it was told.
class elsewhere {
public:
    elsewhere() : thread_([this] { run(); }) {}
    elsewhere(const elsewhere&) = delete;
    elsewhere& operator=(const elsewhere&) = delete;
    ~elsewhere() {
        later(0us, nullptr);
        thread_.join();
    }
    void later(std::chrono::microseconds after, std::function<void()> f) {
        const std::lock_guard lock(mutex_);
        todo_.push_back({std::chrono::steady_clock::now() + after, std::move(f)});
        changed_.notify_one();
    }
    /// Waits until it has done all that it was told so far.
    void finish() {
        std::promise<void> done;
        later(0us, [&] { done.set_value(); });
        done.get_future().wait();
    }

private:
    struct item {
        std::chrono::steady_clock::time_point due;
        std::function<void()> f;
    };
    void run() {
        while (true) {
            item next;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [&] { return !todo_.empty(); });
                next = std::move(todo_.front());
                todo_.pop_front();
            }
            if (!next.f) return;
            std::this_thread::sleep_until(next.due);
            next.f();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<item> todo_;
    std::thread thread_;
};

struct failed_a : std::exception {};
struct failed_b : std::exception {};

/// What `f` ends with.
template <class F>
outcomes outcome_of(F f) {
    try {
        return value(f());
    } catch (const timeout_error&) {
        return timed_out;
    } catch (const worker_stopped&) {
        return stopped;
    } catch (const operation_cancelled&) {
        return cancelled;
    } catch (const std::future_error&) {
        return broken;
    } catch (const failed_a&) {
        return error_a;
    } catch (const failed_b&) {
        return error_b;
    } catch (...) {
        return anything_else;
    }
}

/// Runs programs, one after the other, and says what is wrong with them.
class runner {
public:
    runner() : worker_({.name = "random", .cancel_grace = 1min, .shutdown_grace = 1min}), other_({.name = "other"}) {}

    /// What is being run, for who watches.
    void describe(std::ostream& out) {
        const std::lock_guard lock(trees_mutex_);
        out << trees_ << '\n';
        worker_.dump(out);
    }

    /// Empty if all was as it should be.
    std::string run(choices& from) {
        wrong_ = {};
        text_.clear();
        const unsigned roots = from.below(4) == 0 ? 2 + from.below(2) : 1;
        std::vector<node> trees;
        for (unsigned i = 0; i < roots; ++i) trees.push_back(generate(from, 3));
        {
            const std::lock_guard lock(trees_mutex_);
            trees_.clear();
            for (const node& n : trees) trees_ += "\n  " + n.text();
        }
        roots == 1 ? run_one(trees[0], from) : run_many(trees, from);
        const auto give_up = std::chrono::steady_clock::now() + support::patience;
        while (alive_.load() != 0 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
        elsewhere_.finish();
        {
            const std::lock_guard lock(kept_mutex_);
            kept_.clear();
        }
        if (alive_.load() != 0) note(std::to_string(alive_.load()) + " objects are left");
        if (destroyed_elsewhere_.exchange(0) != 0) note("an object was destroyed on another thread than the worker's");
        if (wrong_.empty()) return {};
        return wrong_ + trees_ + "\n  " + text_;
    }

private:
    /// A local of a task: lives and dies on the worker's thread.
    class object {
    public:
        explicit object(runner& r) : of_(r) { of_.alive_.fetch_add(1); }
        object(const object&) = delete;
        object& operator=(const object&) = delete;
        ~object() {
            if (detail::event_loop::of_this_thread() == nullptr) of_.destroyed_elsewhere_.fetch_add(1);
            of_.alive_.fetch_sub(1);
        }

    private:
        runner& of_;
    };

    /// What a task has from the moment when it is made, begun or not.
    class ticket {
    public:
        explicit ticket(runner& r) : of_(&r) { of_->alive_.fetch_add(1); }
        ticket(ticket&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
        ticket& operator=(ticket&&) = delete;
        ~ticket() {
            if (of_ != nullptr) of_->alive_.fetch_sub(1);
        }

    private:
        runner* of_;
    };
    task<int> root(const node& n, [[maybe_unused]] ticket mine) {
        const int got = co_await run_node(n);
        co_return got;
    }
    task<int> root(const node& n) { return root(n, ticket(*this)); }

    void note(const std::string& what) { wrong_ += (wrong_.empty() ? "" : "; ") + what; }
    void check(const char* how, outcomes got, outcomes allowed) {
        text_ += std::string(how) + ": " + to_text(got) + ' ';
        if ((got & allowed) == 0) note(std::string(how) + " gave " + to_text(got) + ", not one of " + to_text(allowed));
    }

    void run_one(const node& n, choices& from) {
        const unsigned how = from.below(6);
        const std::chrono::microseconds time(from.below(4) * 60);
        if (how == 0 && !n.may_hang) {
            check("run", outcome_of([&] { return worker_.run(root(n)); }), n.alone);
        } else if (how == 1 && !n.may_hang) {
            check("run for hours", outcome_of([&] { return worker_.run([&] { return root(n); }, 1h); }), n.alone);
        } else if (how == 2) {
            // With neither a limit nor a cancellation in the model's sense: whatever the task ends with late is dropped.
            check("run briefly", outcome_of([&] { return worker_.run(root(n), time); }), n.alone | timed_out);
        } else if (how == 3) {
            task_future<int> future = worker_.submit(root(n));
            if (n.may_hang) future.cancel();
            { const task_future<int> dropped = std::move(future); }
        } else if (how == 4 && from.below(4) == 0) {
            task_future<int> future = worker_.submit(root(n));
            std::this_thread::sleep_for(time);
            worker_.shutdown();
            check("shutdown", outcome_of([&] { return future.get(); }), n.if_stopped | cancelled);
        } else {
            task_future<int> future = worker_.submit(root(n));
            std::this_thread::sleep_for(time);
            future.cancel();
            check("cancel", outcome_of([&] { return future.get(); }), n.if_stopped | cancelled);
        }
    }

    void run_many(const std::vector<node>& trees, choices& from) {
        std::vector<task_future<int>> futures;
        std::vector<outcomes> allowed;
        for (const node& n : trees) futures.push_back(worker_.submit(root(n)));
        for (std::size_t i = 0; i < trees.size(); ++i) {
            const bool cancels = trees[i].may_hang || from.below(2) == 0;
            if (cancels) futures[i].cancel();
            allowed.push_back(cancels ? trees[i].if_stopped | cancelled : trees[i].alone);
        }
        for (std::size_t i = 0; i < trees.size(); ++i) {
            check("one of many", outcome_of([&] { return futures[i].get(); }), allowed[i]);
        }
    }

    task<int> run_node(const node& n) {
        if (n.is < kind::callback_now) return run_simple(n);
        if (n.is < first_of_one) return run_leaf(n);
        if (n.is < first_of_two) return run_one_child(n);
        return run_children(n);
    }

    task<int> run_simple(const node& n) {
        const object local(*this);
        switch (n.is) {
            case kind::throws_a: throw failed_a();
            case kind::throws_b: throw failed_b();
            case kind::sleeps: co_await sleep_for(n.time); break;
            case kind::yields:
                for (int i = 0; i <= n.v; ++i) co_await yield();
                break;
            case kind::never: co_await sleep_for(std::chrono::hours::max()); break;
            case kind::blocks: std::this_thread::sleep_for(n.time); break;
            case kind::foreign_inline: co_await support::resumes_inline<>(); break;
            case kind::foreign_thread: co_await support::resumes_on_new_thread<>(); break;
            case kind::foreign_refuses: co_await support::refuses_to_suspend<>(); break;
            default: break;
        }
        if (detail::event_loop::of_this_thread() == nullptr)
            throw std::logic_error("on another thread than the worker's");
        co_return n.v;
    }

    task<int> run_leaf(const node& n) {
        const object local(*this);
        if (n.is <= kind::callback_aborted) {
            const auto begin = [this, &n](completion<int> done) { start_callback(n, std::move(done)); };
            const int got = co_await await_callback<int>(begin);
            co_return got;
        }
        if (n.is == kind::thread_abandoned) {
            const int got = co_await to_thread(abandon_on_cancel, &runner::sleep_and_return, n.v, n.time);
            co_return got;
        }
        if (n.is <= kind::thread_runs_task) {
            const int got = co_await to_thread(&runner::run_function, this, &n, &local);
            co_return got;
        }
        support::socket_pair sockets;
        if (n.is == kind::readable_now) support::write_byte(sockets.there.get());
        if (n.is == kind::readable_later) {
            const int copy = ::dup(sockets.there.get());
            elsewhere_.later(n.time, [copy] {
                ::send(copy, "x", 1, MSG_NOSIGNAL);  // the other end may be closed by now
                ::close(copy);
            });
        }
        co_await wait_readable(sockets.here.get());
        if (!support::read_byte(sockets.here.get())) throw std::logic_error("nothing to read");
        co_return n.v;
    }

    void start_callback(const node& n, completion<int> done) {
        switch (n.is) {
            case kind::callback_now: done(n.v); break;
            case kind::callback_later: elsewhere_.later(n.time, [done, v = n.v] { done(v); }); break;
            case kind::callback_fails:
                elsewhere_.later(n.time, [done] { done.fail(std::make_exception_ptr(failed_a())); });
                break;
            case kind::callback_never: {
                const std::lock_guard lock(kept_mutex_);
                kept_.push_back(std::move(done));
                break;
            }
            case kind::callback_aborted: {
                // The operation answers its abortion from another thread, as an I/O library does; some bring a value.
                const completion<int> same = done;
                done.on_cancel([this, &n, same] {
                    elsewhere_.later(0us, [v = n.v, same] {
                        v % 2 == 0 ? same.fail(std::make_exception_ptr(std::runtime_error("aborted"))) : same(v);
                    });
                });
                break;
            }
            default: elsewhere_.later(n.time, [done] {}); break;
        }
    }

    static int sleep_and_return(int v, std::chrono::microseconds time) {
        std::this_thread::sleep_for(time);
        return v;
    }
    int run_function(const node* n, [[maybe_unused]] const object* of_the_task) {
        switch (n->is) {
            case kind::thread_throws: throw failed_a();
            case kind::thread_runs_task:
                return other_.run([n]() -> task<int> {
                    co_await yield();
                    co_return n->v;
                });
            case kind::thread_waits:
                while (!cancellation_requested()) std::this_thread::sleep_for(20us);
                return n->v;
            default: return sleep_and_return(n->v, n->time);
        }
    }

    task<int> run_one_child(const node& n) {
        const object local(*this);
        const node& child = n.of[0];
        switch (n.is) {
            case kind::deep: {
                const int got = co_await nested(child, 40);
                co_return got;
            }
            case kind::timeout_long: {
                const int got = co_await with_timeout(run_node(child), 1h);
                co_return got;
            }
            case kind::timeout_short: {
                const int got = co_await with_timeout(run_node(child), n.time + 1us);
                co_return got;
            }
            case kind::timeout_zero: {
                const int got = co_await with_timeout(run_node(child), 0s);
                co_return got;
            }
#if defined(__cpp_lib_jthread)
            case kind::stop_never:
            case kind::stop_before:
            case kind::stop_later: {
                std::stop_source stop;
                if (n.is == kind::stop_before) stop.request_stop();
                if (n.is == kind::stop_later) {
                    elsewhere_.later(n.time, [stop]() mutable { stop.request_stop(); });
                }
                const int got = co_await stop_when(run_node(child), stop.get_token());
                co_return got;
            }
#endif
            case kind::shields: {
                const int got = co_await shield(run_node(child));
                co_return got;
            }
            case kind::captures: {
                result<int> got = co_await as_result(run_node(child));
                co_return got ? got.value() : n.v;
            }
            case kind::catches:
                try {
                    const int got = co_await run_node(child);
                    co_return got;
                } catch (const operation_cancelled&) {
                    throw;
                } catch (const std::exception&) {
                    co_return n.v;
                }
            default: {
                const int got = co_await run_node(child);
                co_return got;
            }
        }
    }
    task<int> nested(const node& n, int depth) {
        const object local(*this);
        if (depth == 0) {
            const int got = co_await run_node(n);
            co_return got;
        }
        const int got = co_await nested(n, depth - 1);
        co_return got;
    }

    task<int> run_children(const node& n) {
        const object local(*this);
        std::vector<task<int>> many;
        if (n.is == kind::all_vector || n.is == kind::any_vector) {
            for (const node& c : n.of) many.push_back(run_node(c));
        }
        switch (n.is) {
            case kind::sequence: {
                const int a = co_await run_node(n.of[0]);
                const int b = co_await run_node(n.of[1]);
                co_return a + b;
            }
            case kind::cleans_up: {
                int got = 0;
                std::exception_ptr error;
                try {
                    got = co_await run_node(n.of[0]);
                } catch (...) {
                    error = std::current_exception();
                }
                static_cast<void>(co_await shield(run_node(n.of[1])));
                if (error) std::rethrow_exception(error);
                co_return got;
            }
            case kind::all_tuple: {
                const auto got = co_await when_all(run_node(n.of[0]), run_node(n.of[1]), run_node(n.of[2]));
                co_return std::get<0>(got) + std::get<1>(got) + std::get<2>(got);
            }
            case kind::all_vector: {
                const std::vector<int> got = co_await when_all(std::move(many));
                int sum = 0;
                for (const int v : got) sum += v;
                co_return sum;
            }
            case kind::any_tuple: {
                const auto got = co_await when_any(run_node(n.of[0]), run_node(n.of[1]), run_node(n.of[2]));
                co_return std::visit([](int v) { return v; }, got) + static_cast<int>(got.index());
            }
            case kind::any_vector: {
                const auto got = co_await when_any(std::move(many));
                co_return got.second + static_cast<int>(got.first);
            }
            default: {
                semaphore one(1);
                const auto got = co_await when_all(with_permit(one, n.of[0]), with_permit(one, n.of[1]));
                co_return std::get<0>(got) + std::get<1>(got);
            }
        }
    }
    task<int> with_permit(semaphore& s, const node& n) {
        const object local(*this);
        const semaphore::permit held = co_await s.acquire();
        const int got = co_await run_node(n);
        co_return got;
    }

    std::atomic<int> alive_{0}, destroyed_elsewhere_{0};
    std::string wrong_, text_;
    std::mutex trees_mutex_;
    std::string trees_;
    std::mutex kept_mutex_;
    std::vector<completion<int>> kept_;
    elsewhere elsewhere_;
    worker worker_, other_;
};

/// Ends the process, and says at what, when a program does not end.
class watchdog {
public:
    explicit watchdog(runner& r) : of_(r), thread_([this] { watch(); }) {}
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;
    ~watchdog() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
            changed_.notify_one();
        }
        thread_.join();
    }
    void next(std::uint64_t seed) { seed_.store(seed); }

private:
    void watch() {
        std::unique_lock lock(mutex_);
        for (std::uint64_t before = seed_.load(); true; before = seed_.load()) {
            const auto until = std::chrono::system_clock::now() + support::patience;
            if (changed_.wait_until(lock, until, [&] { return ended_; })) return;
            if (seed_.load() != before) continue;
            std::cerr << "does not end: SINCPRO_RANDOM_SEED=" << before;
            of_.describe(std::cerr);
            std::abort();
        }
    }

    runner& of_;
    std::atomic<std::uint64_t> seed_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
    std::thread thread_;
};

}  // namespace random_programs
