#pragma once

#include "detail/base/atfork_registry.hpp"
#include "detail/base/config.hpp"
#include "detail/base/duration.hpp"
#include "detail/base/intrusive_ptr.hpp"
#include "detail/bridge/deadline.hpp"
#include "detail/bridge/shared_state.hpp"
#include "detail/coroutine/as_task.hpp"
#include "errors.hpp"
#include "task.hpp"
#include "task_future.hpp"
#include "worker_options.hpp"

#include <chrono>
#include <iosfwd>
#include <mutex>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/base/thread.hpp"
#include "detail/bridge/worker_thread.hpp"
#include "detail/coroutine/trampoline.hpp"
#include "detail/loop/event_loop.hpp"

#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

class default_worker_owner;

}  // namespace detail

/// One thread with one event loop, started by the first task and ended by shutdown() or the destructor.
///
/// Every member may be called from any thread at any time, except the destructor.
class worker final : detail::atfork_handler {
public:
    /// Starts nothing.
    explicit worker(worker_options options = {});
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;
    /// As shutdown(); on this worker's own thread it cancels the tasks and returns.
    ~worker();

    /// As run_async_task, on this worker.
    template <class A>
    auto run(A&& a) -> detail::task_result_t<A> {
        check_run();
        return run_until(detail::as_task(std::forward<A>(a)), detail::never, detail::unlimited);
    }
    /// As run_async_task with a time limit, on this worker.
    template <class A, class Rep, class Period>
    auto run(A&& a, std::chrono::duration<Rep, Period> timeout) -> detail::task_result_t<A> {
        check_run();
        const detail::clock::duration limit = detail::saturate(timeout);
        const detail::clock::time_point deadline = detail::deadline_after(limit);
        auto task = detail::as_task(std::forward<A>(a));
        if (limit.count() > 0) return run_until(std::move(task), deadline, limit);
        { const auto destroyed_first = std::move(task); }
        throw detail::make_timeout_error(limit, true, {});
    }
    /// Says of a time limit that is no duration what to write instead.
    template <class A, class T>
        requires(!detail::is_duration<T>)
    auto run(A&&, const T&) -> detail::misused::anything {
        detail::refuse_as_duration<T>();
        return {};
    }

    /// As submit_async_task, on this worker.
    template <class A>
    auto submit(A&& a) -> task_future<detail::task_result_t<A>> {
        return launch(detail::as_task(std::forward<A>(a)));
    }

    /// Starts the thread if there is none. Throws std::system_error if the system has no thread or descriptor left, and
    /// worker_stopped if the process is ending.
    void start();

    /// Cancels all tasks, lets them unwind for up to worker_options::shutdown_grace, and joins the thread; a task that does
    /// not stop in time is left to the thread, and who waits for it gets worker_stopped. The next run() or submit() starts
    /// the worker again. Throws std::system_error(resource_deadlock_would_occur) on this worker's own thread.
    void shutdown();

    /// True from the start of the thread until shutdown() has ended.
    bool is_running() const;

    /// Options for the next start. Throws std::logic_error while the worker runs.
    void configure(worker_options options);

    /// Writes every task of this worker and where each of its flows is suspended. If a task blocks the thread, it says
    /// which one that is and where it last resumed. Any thread; waits up to 0.1 s for the loop to answer. Not while that
    /// task destroys coroutines of other libraries that wait in tasks.
    void dump(std::ostream& out) const;

private:
    friend class detail::default_worker_owner;

    template <class T>
    T run_until(task<T> t, detail::clock::time_point deadline, detail::clock::duration limit) {
        detail::intrusive_ptr<detail::submitted_task<T>> shared(new detail::submitted_task<T>(std::move(t)));
        std::future<T> future = shared->get_future();
        hand_over(*shared, true);
        detail::any_future_of<T> any(future);
        detail::wait_with_deadline(*shared, any, deadline, limit);
        return future.get();
    }
    template <class T>
    task_future<T> launch(task<T> t) {
        detail::intrusive_ptr<detail::submitted_task<T>> shared(new detail::submitted_task<T>(std::move(t)));
        // Made before the task is handed over: if that throws, the future goes first, since a promise that breaks needs memory.
        task_future<T> future(shared->get_future(), shared);
        hand_over(*shared, false);
        return future;
    }
    void hand_over(detail::shared_state& s, bool blocks_caller);
    static void check_run();

    detail::intrusive_ptr<detail::worker_thread> running_thread();
    void forget(const detail::worker_thread* ended) noexcept;
    void close_at_exit() noexcept;
    std::unique_lock<std::mutex> locked() const;

    SINCPRO_DETAIL_INLINE void before_fork() override;
    SINCPRO_DETAIL_INLINE void after_fork_in_parent() override;
    SINCPRO_DETAIL_INLINE void after_fork_in_child() noexcept override;

    mutable std::mutex mutex_;
    detail::intrusive_ptr<detail::worker_thread> thread_;
    detail::intrusive_ptr<const detail::shared_options> options_;  // never null
    bool closed_ = false;  // for good: it is being destroyed, or the process ends
};

#if SINCPRO_DETAIL_DEFINITIONS

namespace detail {

/// In the child of a fork no thread is a worker's, also if a task has forked; but another library may be running a task.
inline void forget_worker_in_child() noexcept {
    trampoline* const outside = event_loop::of_this_thread() == nullptr ? this_thread().innermost : nullptr;
    restore_signals_after_fork();
    event_loop::forget_this_thread();
    blocking_pool::loop_of_this_thread() = nullptr;
    this_thread() = {};
    this_thread().innermost = outside;
}

inline clock::time_point shutdown_deadline(const worker_thread& t) {
    return deadline_after(saturate(t.options().shutdown_grace));
}

}  // namespace detail

SINCPRO_DETAIL_COLD worker::worker(worker_options options) : options_(new detail::shared_options(std::move(options))) {
    detail::atfork_registry::call_in_child(&detail::forget_worker_in_child);
}

SINCPRO_DETAIL_COLD worker::~worker() {
    {
        const auto lock = locked();
        closed_ = true;  // for functions of to_thread that go on meanwhile
    }
    if (thread_ && thread_->is_waited_for_by_this_thread()) {
        thread_->stop_without_waiting(detail::shutdown_deadline(*thread_));
    } else if (thread_) {
        thread_->stop(detail::shutdown_deadline(*thread_));
    }
    unregister_for_fork();  // after that: a fork meanwhile ends the calls
}

SINCPRO_DETAIL_INLINE void worker::check_run() {
    detail::check_may_block(
        "sincpro: run_async_task() would block a worker's thread; co_await the task instead, or submit_async_task()");
}

SINCPRO_DETAIL_INLINE void worker::hand_over(detail::shared_state& s, bool blocks_caller) {
    s.blocks_caller = blocks_caller;
    s.blocks_main_thread = blocks_caller && detail::on_main_thread();
    while (true) {
        const detail::intrusive_ptr<detail::worker_thread> on = running_thread();
        detail::intrusive_ptr<detail::shared_state> reference = detail::share(s);
        if (on->submit(s)) {
            reference.detach();  // owned by the worker
            return;
        }
        forget(on.get());  // it was shut down meanwhile: start again
    }
}

SINCPRO_DETAIL_INLINE void worker::start() { running_thread(); }

SINCPRO_DETAIL_INLINE detail::intrusive_ptr<detail::worker_thread> worker::running_thread() {
    const auto lock = locked();
    if (closed_) throw worker_stopped();
    if (!thread_) thread_ = detail::worker_thread::start(options_);
    return thread_;
}

// Lets go of a thread that has ended.
SINCPRO_DETAIL_COLD void worker::forget(const detail::worker_thread* ended) noexcept {
    detail::intrusive_ptr<detail::worker_thread> released;  // after the lock
    const auto lock = locked();
    if (thread_.get() == ended) std::swap(released, thread_);
}

SINCPRO_DETAIL_COLD void worker::shutdown() {
    detail::intrusive_ptr<detail::worker_thread> ending;
    {
        const auto lock = locked();
        ending = thread_;
    }
    if (!ending) return;
    if (ending->is_waited_for_by_this_thread()) {
        throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                "sincpro: worker::shutdown() would wait for the task that calls it");
    }
    ending->stop(detail::shutdown_deadline(*ending));
    forget(ending.get());
}

SINCPRO_DETAIL_COLD void worker::close_at_exit() noexcept {
    detail::intrusive_ptr<detail::worker_thread> ending;
    {
        const auto lock = locked();
        closed_ = true;
        ending = thread_;
    }
    if (!ending) return;
    if (!detail::on_main_thread()) ending->keep_main_thread_blocked();
    if (ending->is_waited_for_by_this_thread()) {
        // A task has called exit(): nothing waits for it, and the process goes down with it.
        ending->end_calls(detail::worker_thread::which::blocked_in_run);
    } else {
        ending->stop(detail::shutdown_deadline(*ending));
        forget(ending.get());
    }
}

SINCPRO_DETAIL_INLINE bool worker::is_running() const {
    const auto lock = locked();
    return thread_.get() != nullptr;
}

SINCPRO_DETAIL_COLD void worker::configure(worker_options options) {
    // What it replaces is destroyed after the lock is released.
    detail::intrusive_ptr<const detail::shared_options> replaced(new detail::shared_options(std::move(options)));
    const auto lock = locked();
    if (thread_) throw std::logic_error("sincpro: configure() while the worker runs; call shutdown() first");
    std::swap(options_, replaced);
}

SINCPRO_DETAIL_COLD void worker::dump(std::ostream& out) const {
    detail::intrusive_ptr<detail::worker_thread> running;
    std::string name;
    {
        const auto lock = locked();
        running = thread_;
        name = options_->name;
    }
    std::string text = running ? running->dump() : std::string();
    if (text.empty()) text = "worker \"" + name + "\": not running\n";
    out << text;
}

// Every use of a member that others use too.
SINCPRO_DETAIL_INLINE std::unique_lock<std::mutex> worker::locked() const {
    const_cast<worker&>(*this).register_for_fork();
    return std::unique_lock(mutex_);
}

SINCPRO_DETAIL_COLD void worker::before_fork() {
    mutex_.lock();
    if (thread_) thread_->registry.mutex.lock();
}
SINCPRO_DETAIL_COLD void worker::after_fork_in_parent() {
    if (thread_) thread_->registry.mutex.unlock();
    mutex_.unlock();
}
// In the child it is a worker that has not been started.
SINCPRO_DETAIL_COLD void worker::after_fork_in_child() noexcept {
    if (detail::worker_thread* const gone = thread_.detach()) {
        gone->registry.mutex.unlock();
        gone->forget_after_fork();
    }
    mutex_.unlock();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
