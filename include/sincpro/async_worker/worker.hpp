#pragma once

#include "as_task.hpp"
#include "errors.hpp"
#include "task_future.hpp"
#include "worker_loop.hpp"

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sincpro {

namespace detail {

class default_worker_owner;

/// Asks the loop where a task is, and then cancels it.
class deadline_request : public work {
public:
    explicit deadline_request(counted_ptr<call_state> c) : work(&deadline_request::arrive), call_(std::move(c)) {}

    void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    /// Empty as long as the loop has not answered.
    std::vector<await_location> answer() const {
        return answered_.load(std::memory_order_acquire) ? chain_ : std::vector<await_location>();
    }

private:
    static void arrive(work& w) noexcept {
        const counted_ptr<deadline_request> self(static_cast<deadline_request*>(&w));
        job* const root = self->call_->root;
        if (root == nullptr) return;
        try {
            append_trace(*root, self->chain_);
            self->answered_.store(true, std::memory_order_release);
        } catch (const std::bad_alloc&) {  // the cancellation is more important than where
        }
        cancel(*root);
    }

    counted_ptr<call_state> call_;
    std::vector<await_location> chain_;
    std::atomic<bool> answered_{false};
    std::atomic<unsigned> references_{1};
};

}  // namespace detail

/// One thread with one event loop, started by the first task and ended by shutdown() or the destructor.
///
/// Every member may be called from any thread at any time, except the destructor.
class worker {
public:
    explicit worker(worker_options options = {});
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;
    /// As shutdown(); on this worker's own thread it cancels the tasks and returns.
    ~worker();

    /// As run_async_task, on this worker.
    template <class A>
    auto run(A&& a) -> detail::task_result_t<A> {
        detail::check_may_block(would_deadlock);
        return wait(launch(detail::as_task(std::forward<A>(a)), true));
    }
    template <class A, class Rep, class Period>
    auto run(A&& a, std::chrono::duration<Rep, Period> timeout) -> detail::task_result_t<A> {
        detail::check_may_block(would_deadlock);
        const detail::clock::duration limit = detail::saturate(timeout);
        const detail::clock::time_point deadline = detail::deadline_after(limit);
        {
            auto task = detail::as_task(std::forward<A>(a));
            if (limit.count() > 0) return wait(launch(std::move(task), true), deadline, limit);
        }
        throw detail::make_timeout_error(limit, true, {});
    }

    /// As submit_async_task, on this worker.
    template <class A>
    auto submit(A&& a) -> task_future<detail::task_result_t<A>> {
        return launch(detail::as_task(std::forward<A>(a)), false);
    }

    /// Starts the thread if there is none. Throws std::system_error if the system has no thread or descriptor left, and
    /// worker_stopped if the process is ending.
    void start() { loop(); }

    /// Cancels all tasks, lets them unwind for up to worker_options::shutdown_grace, and joins the thread; a task that does
    /// not stop in time is left to the thread, and who waits for it gets worker_stopped. The next run() or submit() starts
    /// the worker again. Throws std::system_error(resource_deadlock_would_occur) on this worker's own thread.
    void shutdown();

    bool is_running() const {
        const std::lock_guard lock(mutex_);
        return loop_.get() != nullptr;
    }

    /// Options for the next start. Throws std::logic_error while the worker runs.
    void configure(worker_options options) {
        const std::lock_guard lock(mutex_);
        if (loop_) throw std::logic_error("sincpro: configure() while the worker runs; call shutdown() first");
        options_ = std::move(options);
    }

    /// Writes every task of this worker and where each of its flows is suspended. If a task blocks the thread, it says
    /// which one that is and where it last resumed. Any thread; waits up to 0.1 s for the loop to answer.
    void dump(std::ostream& out) const;

private:
    friend class detail::default_worker_owner;
    class fork_registry;

    static constexpr const char* would_deadlock =
        "sincpro: run_async_task() would block a worker's thread; co_await the task instead, or submit_async_task()";

    template <class T>
    task_future<T> launch(task<T> t, bool blocks) {
        detail::counted_ptr<detail::call_state> shared(new detail::call_state);
        shared->blocks_caller = blocks;
        shared->blocks_main_thread = blocks && detail::on_main_thread();
        auto root = std::make_unique<detail::root<T>>(std::move(t), shared);
        task_future<T> future(root->get_future(), std::move(shared));
        while (true) {
            const detail::counted_ptr<detail::worker_loop> on = loop();
            if (on->submit(*root)) break;
            forget(on.get());  // it was shut down meanwhile: start again
        }
        static_cast<void>(root.release());  // owned by the loop
        return future;
    }

    template <class T>
    static T wait(task_future<T> f) {
        detail::look([&] { return f.ready(); });
        return f.get();
    }
    template <class T>
    T wait(task_future<T> f, detail::clock::time_point deadline, detail::clock::duration limit) {
        if (deadline == detail::clock::time_point::max()) return wait(std::move(f));
        if (detail::look([&] { return f.ready(); }) || f.wait_until(deadline) == std::future_status::ready ||
            !f.call_->try_claim(detail::claim::deadline)) {
            return f.get();
        }
        auto& on = static_cast<detail::worker_loop&>(*f.call_->loop);
        const detail::counted_ptr<detail::deadline_request> request = cancel_at_deadline(f.call_);
        const auto grace = detail::deadline_after(detail::saturate(on.options.cancel_grace));
        // The second condition: an exception came just now, so the task has ended after all.
        if (f.wait_until(grace) == std::future_status::ready ||
            f.call_->fate_shared.exchange(true, std::memory_order_acq_rel)) {
            try {
                static_cast<void>(f.get());
            } catch (const operation_cancelled&) {  // as it should
            } catch (...) {
                std::throw_with_nested(detail::make_timeout_error(limit, true, answer(request)));
            }
            throw detail::make_timeout_error(limit, true, answer(request));
        }
        const detail::counted_ptr<detail::call_state> call = std::exchange(f.call_, {});  // as dropped
        throw detail::make_timeout_error(limit, false, answer(request), on.describe_busy(*call));
    }

    static detail::counted_ptr<detail::deadline_request> cancel_at_deadline(
        const detail::counted_ptr<detail::call_state>& call) noexcept;
    static std::vector<await_location> answer(const detail::counted_ptr<detail::deadline_request>& r) {
        return r ? r->answer() : std::vector<await_location>();
    }

    /// The running loop, started if there is none.
    detail::counted_ptr<detail::worker_loop> loop() {
        const std::lock_guard lock(mutex_);
        if (closed_) throw worker_stopped();
        if (!loop_) loop_ = detail::worker_loop::start(options_);
        return loop_;
    }
    /// Lets go of a loop that has ended.
    void forget(const detail::worker_loop* ended) noexcept {
        detail::counted_ptr<detail::worker_loop> let_go;
        const std::lock_guard lock(mutex_);
        if (loop_.get() == ended) std::swap(let_go, loop_);
    }
    /// True on the thread of `l` and in the functions that its tasks run by to_thread: waiting for it there would not end.
    static bool is_part_of(const detail::worker_loop& l) noexcept {
        return detail::current().loop == &l || detail::current().helps == static_cast<const detail::executor*>(&l);
    }
    static detail::clock::time_point shutdown_deadline(const detail::worker_loop& l) {
        return detail::deadline_after(detail::saturate(l.options.shutdown_grace));
    }
    void close_at_exit() noexcept;

    mutable std::mutex mutex_;
    detail::counted_ptr<detail::worker_loop> loop_;
    worker_options options_;
    bool closed_ = false;                          // for good: the process ends
    worker *older_ = nullptr, *newer_ = nullptr;  // in the fork_registry
};

/// Every worker, so that in the child of a fork each is one that has not been started.
class worker::fork_registry {
public:
    static void add(worker& w) {
        static const bool handlers_set = (detail::set_fork_handlers(&before_fork, &in_parent, &in_child), true);
        static_cast<void>(handlers_set);
        const std::lock_guard lock(mutex_);
        w.older_ = newest_;
        if (newest_ != nullptr) newest_->newer_ = &w;
        newest_ = &w;
    }
    static void remove(worker& w) noexcept {
        const std::lock_guard lock(mutex_);
        (w.newer_ != nullptr ? w.newer_->older_ : newest_) = w.older_;
        if (w.older_ != nullptr) w.older_->newer_ = w.newer_;
    }

private:
    static void before_fork() noexcept {
        mutex_.lock();
        for (worker* w = newest_; w != nullptr; w = w->older_) {
            w->mutex_.lock();
            if (w->loop_) w->loop_->lock_for_fork();
        }
    }
    static void in_parent() noexcept {
        for (worker* w = newest_; w != nullptr; w = w->older_) {
            if (w->loop_) w->loop_->unlock_after_fork();
            w->mutex_.unlock();
        }
        mutex_.unlock();
    }
    static void in_child() noexcept {
        detail::current() = {};  // also if a task forked: what goes on here is no worker's thread
        for (worker* w = newest_; w != nullptr; w = w->older_) {
            if (detail::worker_loop* const gone = w->loop_.release()) {
                gone->unlock_after_fork();
                gone->forget_after_fork();
            }
            w->mutex_.unlock();
        }
        mutex_.unlock();
    }

    static inline constinit std::mutex mutex_;
    static inline constinit worker* newest_ = nullptr;
};

inline worker::worker(worker_options options) : options_(std::move(options)) { fork_registry::add(*this); }

inline worker::~worker() {
    fork_registry::remove(*this);
    if (!loop_) return;
    if (is_part_of(*loop_)) {
        loop_->stop_later(shutdown_deadline(*loop_));
    } else {
        loop_->stop(shutdown_deadline(*loop_));
    }
}

inline void worker::shutdown() {
    detail::counted_ptr<detail::worker_loop> ending;
    {
        const std::lock_guard lock(mutex_);
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
        const std::lock_guard lock(mutex_);
        closed_ = true;
        ending = loop_;
    }
    if (!ending) return;
    if (!detail::on_main_thread()) ending->keep_main_thread_blocked();
    if (is_part_of(*ending)) {
        ending->give_up_all(true);  // a task has called exit(): nothing waits for it, and the process goes down with it
    } else {
        ending->stop(shutdown_deadline(*ending));
        forget(ending.get());
    }
}

inline detail::counted_ptr<detail::deadline_request> worker::cancel_at_deadline(
    const detail::counted_ptr<detail::call_state>& call) noexcept {
    try {
        detail::counted_ptr<detail::deadline_request> request(new detail::deadline_request(call));
        request->hold();
        if (!call->loop->post(*request)) request->drop();
        return request;
    } catch (const std::bad_alloc&) {
        call->request_cancel();
        return {};
    }
}

inline void worker::dump(std::ostream& out) const {
    detail::counted_ptr<detail::worker_loop> running;
    std::string name;
    {
        const std::lock_guard lock(mutex_);
        running = loop_;
        name = options_.name;
    }
    std::string text = running ? running->dump() : std::string();
    if (text.empty()) text = "worker \"" + name + "\": not running\n";
    out << text;
}

namespace detail {

/// Never destroyed, so that a call in a destructor that runs at exit finds it, closed.
class default_worker_owner {
public:
    default_worker_owner() { ::new (static_cast<void*>(storage_)) worker; }
    default_worker_owner(const default_worker_owner&) = delete;
    default_worker_owner& operator=(const default_worker_owner&) = delete;
    ~default_worker_owner() { get().close_at_exit(); }

    worker& get() noexcept { return *std::launder(reinterpret_cast<worker*>(storage_)); }

private:
    alignas(worker) unsigned char storage_[sizeof(worker)];
};

}  // namespace detail

/// The worker of the free functions. At exit it is shut down before what was constructed before its first use is destroyed;
/// a call after that throws worker_stopped.
inline worker& default_worker() {
    static detail::default_worker_owner owner;
    return owner.get();
}

}  // namespace sincpro
