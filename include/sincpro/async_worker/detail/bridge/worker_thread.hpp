#pragma once

#include "../base/config.hpp"

#if SINCPRO_DETAIL_DEFINITIONS

#include "../../errors.hpp"
#include "../../worker_options.hpp"
#include "../base/duration.hpp"
#include "../base/intrusive_ptr.hpp"
#include "../base/thread.hpp"
#include "../coroutine/async_stack_trace.hpp"
#include "../coroutine/job.hpp"
#include "../coroutine/job_runner.hpp"
#include "../coroutine/trampoline.hpp"
#include "../loop/event_loop.hpp"
#include "../loop/work.hpp"
#include "blocked_caller.hpp"
#include "blocking_pool.hpp"
#include "shared_state.hpp"
#include "task_registry.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// The event loop of a worker, its thread, and the tasks that it has to end. Owned by the worker, the thread and the calls,
/// so that nothing which a stuck thread still touches is freed.
class worker_thread final : public event_loop {
public:
    /// Throws std::system_error if there are no descriptors or threads left.
    static intrusive_ptr<worker_thread> start(intrusive_ptr<const shared_options> options);

    static worker_thread& of(event_loop& loop) noexcept { return static_cast<worker_thread&>(loop); }
    /// True on this thread and in the functions that its tasks run by to_thread: waiting for it there would not end.
    bool is_waited_for_by_this_thread() const noexcept;

    /// Takes a reference to a task over. False, and it stays the caller's, if the loop has ended.
    bool submit(shared_state& s) noexcept;

    /// Cancels all tasks and waits until they have ended, until `until`; then leaves the thread to itself.
    void stop(clock::time_point until) noexcept;
    /// The same from its own thread: does not wait.
    void stop_without_waiting(clock::time_point until) noexcept;
    bool is_stop_requested() const noexcept { return stop_requested_.load(std::memory_order_acquire); }

    /// Ends calls with worker_stopped, though the tasks go on: all, or those whose callers are blocked in run(). Any thread.
    enum class which : unsigned char { all, blocked_in_run };
    void end_calls(which calls = which::all) noexcept;

    /// The process ends, on another thread than the main one: what blocks that must not return any more, it would throw.
    void keep_main_thread_blocked() noexcept { main_thread_stays_blocked_.store(true, std::memory_order_release); }
    bool may_return(const shared_state& s) const noexcept {
        return !s.blocks_main_thread || !main_thread_stays_blocked_.load(std::memory_order_acquire);
    }

    /// Calls options.on_unobserved_exception, if there is one and `error` is no operation_cancelled.
    void report_unobserved(const std::exception_ptr& error) noexcept;

    /// What keeps the thread from answering, seen from the task `own`; empty if nothing does.
    std::string describe_busy(const shared_state& own);
    /// All tasks and where they are. Any thread.
    std::string dump();

    /// Of to_thread. Loop thread.
    blocking_pool& pool() {
        if (!pool_) pool_ = intrusive_ptr<blocking_pool>(new blocking_pool(*this));
        return *pool_;
    }

    /// In the child of a fork, where the thread does not exist, nor those that are blocked in run().
    void forget_after_fork() noexcept;

    const worker_options& options() const noexcept { return *options_; }
    task_registry registry;

private:
    explicit worker_thread(intrusive_ptr<const shared_options> o) noexcept : options_(std::move(o)) {}
    ~worker_thread() override = default;

    static void main(void* argument);
    void run_until_stopped() noexcept;
    SINCPRO_DETAIL_INLINE bool has_ended() noexcept override;
    SINCPRO_DETAIL_INLINE void take_posted(std::size_t limit) noexcept override;

    void request_stop(clock::time_point until) noexcept;
    struct stop_request : work {
        explicit stop_request(worker_thread& t) noexcept : work(&stop_request::arrive), thread(t) {}
        static void arrive(work& w) noexcept;
        worker_thread& thread;
    };
    struct dump_request;

    std::string describe(const job_runner::running_code& now) {
        return registry.describe(options().name, now.root, now.at);
    }
    using visitor = void (*)(shared_state&) noexcept;
    void for_each_task(visitor visit) noexcept;
    std::size_t for_each_queued_task(visitor visit) noexcept;

    const intrusive_ptr<const shared_options> options_;
    job_runner runner_{*this};
    intrusive_ptr<blocking_pool> pool_;

    std::atomic<bool> stop_requested_{false};
    std::atomic<bool> left_{false};  // by stop(), so nobody will stop what comes later
    std::atomic<bool> main_thread_stays_blocked_{false};
    clock::time_point stop_until_{};
    stop_request stop_request_{*this};
    bool stopping_ = false;  // loop thread

    std::mutex thread_mutex_;
    std::condition_variable thread_ended_;
    std::thread thread_;
    bool ended_ = false;
};

SINCPRO_DETAIL_COLD intrusive_ptr<worker_thread> worker_thread::start(intrusive_ptr<const shared_options> options) {
    intrusive_ptr<worker_thread> t(new worker_thread(std::move(options)));
    t->open();
    try {
        t->add_ref();
        t->thread_ = start_thread(&worker_thread::main, t.get());
    } catch (...) {
        t->release();
        t->close();
        throw;
    }
    return t;
}

SINCPRO_DETAIL_INLINE void worker_thread::main(void* argument) {
    const intrusive_ptr<worker_thread> self(static_cast<worker_thread*>(argument));
    self->run_until_stopped();
}

SINCPRO_DETAIL_COLD void worker_thread::run_until_stopped() noexcept {
    name_this_thread(options().name);
    run();
    if (pool_) pool_->stop(stop_until_);
    pool_ = {};
    close();
    const std::lock_guard lock(thread_mutex_);
    ended_ = true;
    thread_ended_.notify_all();
}

SINCPRO_DETAIL_INLINE bool worker_thread::is_waited_for_by_this_thread() const noexcept {
    return of_this_thread() == this || blocking_pool::loop_of_this_thread() == this;
}

SINCPRO_DETAIL_INLINE bool worker_thread::submit(shared_state& s) noexcept {
    s.bind(runner_);
    if (of_this_thread() == this) {
        const std::lock_guard lock(registry.mutex);
        registry.add(s);
    }
    if (!post(s)) return false;
    // seq_cst: this pushes, then reads `left_`; stop() writes `left_`, then takes the queue. One of the two sees the other.
    if (left_.load(std::memory_order_seq_cst)) end_calls();
    return true;
}

SINCPRO_DETAIL_INLINE void worker_thread::take_posted(std::size_t limit) noexcept {
    // One pass, and one lock, for all that is to be done with a task: each of a million is a cache miss.
    const std::lock_guard lock(registry.mutex);
    posted().take(limit, [this](work& w) {
        if (shared_state::is_submission(w)) registry.add(static_cast<shared_state&>(w));
        enqueue(w);
    });
}

SINCPRO_DETAIL_INLINE bool worker_thread::has_ended() noexcept {
    if (!stopping_ || !registry.tasks.empty() || !runner_.detached.waiting.empty()) return false;
    const std::lock_guard lock(registry.mutex);
    return posted().close();
}

SINCPRO_DETAIL_COLD void worker_thread::request_stop(clock::time_point until) noexcept {
    if (stop_requested_.exchange(true, std::memory_order_acq_rel)) return;
    stop_until_ = until;
    post(stop_request_);
}
SINCPRO_DETAIL_COLD void worker_thread::stop_request::arrive(work& w) noexcept {
    worker_thread& t = static_cast<stop_request&>(w).thread;
    t.stopping_ = true;
    for (shared_state& s : t.registry.tasks) s.cancel();
    t.runner_.detached.cancel();
}

SINCPRO_DETAIL_COLD void worker_thread::stop(clock::time_point until) noexcept {
    const thread_cancellation_disabled meanwhile;
    request_stop(until);
    std::unique_lock lock(thread_mutex_);
    const auto has_ended = [this] { return ended_; };
    wait_until(thread_ended_, lock, until, has_ended);
    std::thread thread = std::move(thread_);
    const bool ended = ended_;
    lock.unlock();
    if (!ended) {
        left_.store(true, std::memory_order_seq_cst);  // see submit()
        end_calls();
    }
    if (!thread.joinable()) return;                                     // somebody else stops it too
    const bool itself = thread.get_id() == std::this_thread::get_id();  // in the destructor of a thread-local
    ended && !itself ? thread.join() : thread.detach();
}
SINCPRO_DETAIL_COLD void worker_thread::stop_without_waiting(clock::time_point until) noexcept {
    request_stop(until);
    const std::lock_guard lock(thread_mutex_);
    if (thread_.joinable()) thread_.detach();
}

// The thread itself goes on, and may destroy what is visited: `visit` is called while the registry is locked, and the loop
// does not end before what was taken out of its queue is back. Returns how many there are.
SINCPRO_DETAIL_COLD std::size_t worker_thread::for_each_queued_task(visitor visit) noexcept {
    std::size_t count = 0;
    const auto visit_task = [&](work& w) {
        if (!shared_state::is_submission(w)) return;
        visit(static_cast<shared_state&>(w));
        ++count;
    };
    posted().visit_all(visit_task, [&](work& w) {
        visit_task(w);
        if (of_this_thread() == this) {
            posted().push(w);  // post() would pass the registry by
        } else {
            post(w);
        }
    });
    return count;
}
SINCPRO_DETAIL_COLD void worker_thread::for_each_task(visitor visit) noexcept {
    const std::lock_guard lock(registry.mutex);
    for_each_queued_task(visit);
    for (shared_state& s : registry.tasks) visit(s);
}

SINCPRO_DETAIL_COLD void worker_thread::end_calls(which calls) noexcept {
    for_each_task(calls == which::all ? visitor([](shared_state& s) noexcept {
        if (s.thread().may_return(s)) s.end_by_shutdown();
    })
                                      : visitor([](shared_state& s) noexcept {
                                            if (s.blocks_caller && s.thread().may_return(s)) s.end_by_shutdown();
                                        }));
}

SINCPRO_DETAIL_COLD void worker_thread::forget_after_fork() noexcept {
    close_after_fork();
    for_each_task([](shared_state& s) noexcept {
        if (!s.blocks_caller) s.orphan();
    });
}

inline constexpr job_runner::running_code unobserved_handler{nullptr, {}, "worker_options::on_unobserved_exception"};

SINCPRO_DETAIL_COLD void worker_thread::report_unobserved(const std::exception_ptr& error) noexcept {
    // A cancellation was asked for; it is not an error that nobody observed.
    if (!options().on_unobserved_exception || is_cancellation(error)) return;
    std::optional<job_runner::running_scope> handler;
    if (of_this_thread() == this) handler.emplace(runner_, unobserved_handler);
    try {
        options().on_unobserved_exception(error);
    } catch (...) {  // NOLINT(bugprone-empty-catch): documented
    }
}

SINCPRO_DETAIL_COLD std::string worker_thread::describe_busy(const shared_state& own) {
    std::string text;
    runner_.visit_while_running([&](const job_runner::running_code& now) {
        const bool itself = &own == now.root;
        text = itself ? "it runs without suspending" : "the worker thread is busy with another task";
        if (now.hook != nullptr) text = std::string("the worker thread is busy with ") + now.hook;
        if (now.at.line != 0) {
            text.append(itself ? ", last resumed at " : ", which last resumed at ").append(to_text({&now.at, 1}));
        }
    });
    return text;
}

struct worker_thread::dump_request : work, ref_counted<dump_request> {
    explicit dump_request(worker_thread& t) noexcept : work(&dump_request::arrive), thread(t) {}
    ~dump_request() = default;

    static void arrive(work& w) noexcept {
        const intrusive_ptr<dump_request> self(static_cast<dump_request*>(&w));
        std::string text;
        std::exception_ptr error;
        try {
            text = self->thread.describe({});
        } catch (...) {
            error = std::current_exception();
        }
        const std::lock_guard lock(self->mutex);
        self->text.swap(text);
        self->error = error;
        self->answered = true;
        self->changed.notify_one();
    }

    worker_thread& thread;
    std::mutex mutex;
    std::condition_variable changed;
    bool answered = false;
    std::string text;
    std::exception_ptr error;
};

SINCPRO_DETAIL_COLD std::string worker_thread::dump() {
    if (of_this_thread() == this) {
        const job* const running = this_thread().running;
        return describe({running != nullptr ? running->root : nullptr, {}});
    }
    const intrusive_ptr<dump_request> request(new dump_request(*this));
    request->add_ref();
    if (!post(*request)) {
        request->release();
        return {};
    }
    std::unique_lock lock(request->mutex);
    const auto answered = [&] { return request->answered; };
    for (int patience = 100;
         !wait_until(request->changed, lock, clock::now() + std::chrono::milliseconds(patience), answered);
         patience = 10) {
        lock.unlock();
        std::string text, by = "the running task";
        const bool is_running = runner_.visit_while_running([&](const job_runner::running_code& now) {
            text = describe(now);
            if (now.hook != nullptr) by = now.hook;
        });
        if (is_running) {
            std::size_t count = 0;
            {
                const std::lock_guard registry_lock(registry.mutex);
                count = for_each_queued_task([](shared_state&) noexcept {});
            }
            if (count != 0) text.append("  and ").append(std::to_string(count)).append(" not started\n");
            return text + "  (the worker thread does not answer: " + by + " blocks it)\n";
        }
        lock.lock();
    }
    if (request->error) std::rethrow_exception(request->error);
    return std::move(request->text);
}

// What shared_state does with its worker.

SINCPRO_DETAIL_INLINE shared_state::shared_state(owned_frame f) noexcept
    : task_job(nullptr, f), work(&shared_state::start) {}
SINCPRO_DETAIL_INLINE shared_state::~shared_state() {
    if (runner != nullptr) thread().release();
}
SINCPRO_DETAIL_INLINE void shared_state::bind(job_runner& r) noexcept {
    if (runner != nullptr) thread().release();
    runner = &r;
    thread().add_ref();
}
SINCPRO_DETAIL_INLINE worker_thread& shared_state::thread() const noexcept { return worker_thread::of(runner->loop); }

SINCPRO_DETAIL_INLINE void shared_state::start(work& w) noexcept {
    auto& self = static_cast<shared_state&>(w);
    self.started = true;
    const bool cancelled = (self.marks_.fetch_or(left_queue, std::memory_order_acq_rel) & cancel_requested) != 0;
    if (cancelled || self.thread().is_stop_requested()) {
        self.end_cancelled();
    } else {
        self.runner->resume(self, self.begin(), {});
    }
}

SINCPRO_DETAIL_INLINE void shared_state::request_cancel() noexcept {
    const unsigned char before = marks_.fetch_or(cancel_requested, std::memory_order_acq_rel);
    if (before != left_queue) return;  // it is requested already, or start() will see it
    work::run = &shared_state::cancel_now;
    add_ref();
    if (!thread().post(*this)) release();
}
SINCPRO_DETAIL_INLINE void shared_state::cancel_now(work& w) noexcept {
    const intrusive_ptr<shared_state> self(static_cast<shared_state*>(&w));
    if (task_registry::contains(*self)) self->cancel();
}
SINCPRO_DETAIL_INLINE bool shared_state::stop_requested() const noexcept {
    return (marks_.load(std::memory_order_acquire) & cancel_requested) != 0 || thread().is_stop_requested();
}

SINCPRO_DETAIL_INLINE bool shared_state::begin_publish(bool is_value) noexcept {
    return claim_outcome(is_value ? claim::value : claim::error) && thread().may_return(*this);
}
SINCPRO_DETAIL_INLINE void shared_state::report_unobserved(const std::exception_ptr& error) noexcept {
    if (error && claimed_by() == claim::abandoned) thread().report_unobserved(error);
}
SINCPRO_DETAIL_INLINE void shared_state::leave() noexcept {
    const bool may_return = thread().may_return(*this);
    thread().registry.remove(*this);  // after it is published: in the child of a fork its call ends, too
    if (may_return) release();        // else its promise must not break
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
