#pragma once

#include "as_task.hpp"
#include "blocking_call.hpp"
#include "errors.hpp"
#include "root.hpp"
#include "survives_fork.hpp"
#include "task_future.hpp"
#include "worker_loop.hpp"

#include <chrono>
#include <memory>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace sincpro {

namespace detail {

class default_worker_owner;

}  // namespace detail

/// One thread with one event loop, started by the first task and ended by shutdown() or the destructor.
///
/// Every member may be called from any thread at any time, except the destructor.
class worker : detail::survives_fork<worker> {
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
        detail::check_may_block(would_deadlock);
        return call(detail::as_task(std::forward<A>(a)), detail::clock::time_point::max(),
                    detail::clock::duration::max());
    }
    /// As run_async_task with a time limit, on this worker.
    template <class A, class Duration>
    auto run(A&& a, Duration timeout) -> detail::task_result_t<A> {
        detail::check_may_block(would_deadlock);
        const detail::clock::duration limit = detail::saturate(timeout);
        const detail::clock::time_point deadline = detail::deadline_after(limit);
        {
            auto task = detail::as_task(std::forward<A>(a));
            if (limit.count() > 0) return call(std::move(task), deadline, limit);
        }
        throw detail::make_timeout_error(limit, true, {});
    }

    /// As submit_async_task, on this worker.
    template <class A>
    auto submit(A&& a) -> task_future<detail::task_result_t<A>> {
        return launch(detail::as_task(std::forward<A>(a)));
    }

    /// Starts the thread if there is none. Throws std::system_error if the system has no thread or descriptor left, and
    /// worker_stopped if the process is ending.
    template <class = void>
    void start() {
        loop();
    }

    /// Cancels all tasks, lets them unwind for up to worker_options::shutdown_grace, and joins the thread; a task that does
    /// not stop in time is left to the thread, and who waits for it gets worker_stopped. The next run() or submit() starts
    /// the worker again. Throws std::system_error(resource_deadlock_would_occur) on this worker's own thread.
    void shutdown();

    /// True from the start of the thread until shutdown() has ended.
    bool is_running() const {
        const auto lock = locked();
        return loop_.get() != nullptr;
    }

    /// Options for the next start. Throws std::logic_error while the worker runs.
    void configure(worker_options options) {
        auto replaced = std::make_unique<worker_options>(std::move(options));  // destroyed after the lock is let go
        const auto lock = locked();
        if (loop_) throw std::logic_error("sincpro: configure() while the worker runs; call shutdown() first");
        std::swap(options_, replaced);
    }

    /// Writes every task of this worker and where each of its flows is suspended. If a task blocks the thread, it says
    /// which one that is and where it last resumed. Any thread; waits up to 0.1 s for the loop to answer. Not while that
    /// task destroys coroutines of other libraries that wait in tasks.
    void dump(std::ostream& out) const;

private:
    friend class detail::default_worker_owner;
    friend class detail::survives_fork<worker>;

    static constexpr const char* would_deadlock =
        "sincpro: run_async_task() would block a worker's thread; co_await the task instead, or submit_async_task()";

    template <class T>
    T call(task<T> t, detail::clock::time_point deadline, detail::clock::duration limit) {
        const detail::counted_ptr<detail::blocking_call_of<T>> shared(
            new detail::blocking_call_of<T>(on_main_thread()));
        auto root = std::make_unique<detail::blocking_root<T>>(std::move(t), shared);
        hand_over(root);
        shared->wait(deadline, limit);
        return shared->take();
    }
    template <class T>
    task_future<T> launch(task<T> t) {
        detail::counted_ptr<detail::call_state> shared(new detail::call_state);
        auto root = std::make_unique<detail::future_root<T>>(std::move(t), shared);
        task_future<T> future(root->get_future(), std::move(shared));
        hand_over(root);
        return future;
    }
    /// If it throws, the root is still its caller's, whose future must go first: a promise that breaks needs memory.
    template <class Root>
    void hand_over(std::unique_ptr<Root>& root) {
        while (true) {
            const detail::counted_ptr<detail::worker_loop> on = loop();
            if (on->submit(*root)) break;
            forget(on.get());  // it was shut down meanwhile: start again
        }
        static_cast<void>(root.release());  // owned by the loop
    }

    /// The running loop, started if there is none.
    template <class Lazily = void>
    detail::counted_ptr<detail::worker_loop> loop() {
        set_handlers<Lazily>();
        const auto lock = locked();
        if (closed_) throw worker_stopped();
        if (!loop_) loop_ = detail::worker_loop::start(*options_);
        return loop_;
    }
    /// Lets go of a loop that has ended.
    void forget(const detail::worker_loop* ended) noexcept {
        detail::counted_ptr<detail::worker_loop> let_go;
        const auto lock = locked();
        if (loop_.get() == ended) std::swap(let_go, loop_);
    }
    /// True on the thread of `l` and in the functions that its tasks run by to_thread: waiting for it there would not end.
    static bool is_part_of(const detail::worker_loop& l) noexcept {
        return detail::current().loop == &l || detail::current().helps == static_cast<const detail::executor*>(&l);
    }
    static detail::clock::time_point shutdown_deadline(const detail::worker_loop& l) {
        return detail::deadline_after(detail::saturate(l.options.shutdown_grace));
    }
    static bool on_main_thread() noexcept {
        signed char& known = detail::current().is_main;
        if (known < 0) known = detail::on_main_thread() ? 1 : 0;
        return known == 1;
    }
    void close_at_exit() noexcept;

    void before_fork() {
        mutex_.lock();
        if (loop_) loop_->lock_for_fork();
    }
    void in_parent() {
        if (loop_) loop_->unlock_after_fork();
        mutex_.unlock();
    }
    /// There it is one that has not been started.
    void in_child() noexcept {
        if (detail::worker_loop* const gone = loop_.release()) {
            gone->unlock_after_fork();
            gone->forget_after_fork();
        }
        mutex_.unlock();
    }

    /// Every use of a member that others use too.
    std::unique_lock<std::mutex> locked() const {
        const_cast<worker&>(*this).enter_fork_list();
        return std::unique_lock(mutex_);
    }

    mutable std::mutex mutex_;
    detail::counted_ptr<detail::worker_loop> loop_;
    std::unique_ptr<worker_options> options_;
    bool closed_ = false;  // for good: the process ends
};

inline worker::worker(worker_options options) : options_(std::make_unique<worker_options>(std::move(options))) {}

inline worker::~worker() {
    if (loop_ && is_part_of(*loop_)) {
        loop_->stop_later(shutdown_deadline(*loop_));
    } else if (loop_) {
        loop_->stop(shutdown_deadline(*loop_));
    }
    leave_fork_list();  // after that: a fork meanwhile ends the calls
}

inline void worker::shutdown() {
    detail::counted_ptr<detail::worker_loop> ending;
    {
        const auto lock = locked();
        ending = loop_;
    }
    if (!ending) return;
    if (is_part_of(*ending)) {
        throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                "sincpro: worker::shutdown() would wait for the task that calls it");
    }
    ending->stop(shutdown_deadline(*ending));
    forget(ending.get());
}

inline void worker::close_at_exit() noexcept {
    detail::counted_ptr<detail::worker_loop> ending;
    {
        const auto lock = locked();
        closed_ = true;
        ending = loop_;
    }
    if (!ending) return;
    if (!on_main_thread()) ending->keep_main_thread_blocked();
    if (is_part_of(*ending)) {
        // A task has called exit(): nothing waits for it, and the process goes down with it.
        ending->give_up_all(detail::worker_loop::whose::blocked_in_run);
    } else {
        ending->stop(shutdown_deadline(*ending));
        forget(ending.get());
    }
}

inline void worker::dump(std::ostream& out) const {
    detail::counted_ptr<detail::worker_loop> running;
    std::string name;
    {
        const auto lock = locked();
        running = loop_;
        name = options_->name;
    }
    std::string text = running ? running->dump() : std::string();
    if (text.empty()) text = "worker \"" + name + "\": not running\n";
    out << text;
}

}  // namespace sincpro
