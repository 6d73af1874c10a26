#pragma once

#include "errors.hpp"
#include "execution.hpp"

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <system_error>
#include <type_traits>
#include <utility>

namespace sincpro::detail {

class operation;
struct promise_base;

/// Jobs that are to be cancelled: a list instead of recursion, since jobs nest to any depth.
class cancel_list {
public:
    void add(job& j) noexcept;
    void run() noexcept;

private:
    job* first_ = nullptr;
};

/// One logical flow of awaits: a whole task that was handed to a worker, or one child of when_all and its kin.
/// Its executor's thread only.
class job {
public:
    explicit job(executor* on) noexcept : loop(on), root(this) {}
    job(const job&) = delete;
    job& operator=(const job&) = delete;

    /// Resumes a coroutine of this job and all that follows from it, until it is suspended or has finished.
    void run(std::coroutine_handle<> h) noexcept {
        thread_state& thread = current();
        job* const before = std::exchange(thread.running, this);
        trampoline(thread).run(h);
        if (done) {
            if (loop->strays != nullptr) thread.running = loop->strays;  // for what its destructors begin
            if (waits_in != nullptr) leave_waits();
            finished();  // may destroy this job
        }
        thread.running = before;
    }

    executor* loop;
    job* root;  // the outermost job that this is part of, itself if it is that
    bool cancelled = false;
    bool shielded = false;          // what is asked of the root is not asked of this
    bool done = false;              // its outermost task has returned
    operation* waits_in = nullptr;  // newest first; several if another library's combinator runs flows of its own

    /// Of a root: somebody wants it cancelled, though the loop may not have got to it yet.
    virtual bool stop_requested() const noexcept { return false; }

protected:
    ~job() {
        if (waits_in != nullptr) leave_waits();
    }

private:
    friend cancel_list;
    virtual void finished() noexcept = 0;
    void leave_waits() noexcept;

    job* next_cancelled_ = nullptr;
};

/// What a coroutine of a job is suspended in. Copies of one that has not begun are independent of it.
///
/// begin() links it to its job; complete() queues the resumption, which unlinks it; a later cancellation passes it by.
class operation : public work {
public:
    operation(const operation&) noexcept : operation() {}
    operation& operator=(const operation&) = delete;

    /// The job is cancelled. Ends the operation, or sees to it that it ends soon; a structured one adds its children.
    virtual void cancel(cancel_list& more) noexcept = 0;

    /// Jobs that this waits for, in order; null at the end.
    virtual job* child(std::size_t) noexcept { return nullptr; }

    const promise_base* awaited_by() const noexcept { return awaited_by_; }
    operation* next_of_job() const noexcept { return older_; }

protected:
    operation() noexcept : work(&operation::resume) {}
    ~operation() {
        if (linked_) {
            unlink();
            loop_->collect();  // another thread may have posted it
        }
        if (queued()) leave_queue();
    }

    /// Takes the job from the coroutine that awaits this. Throws where no worker runs.
    template <class Promise>
    void attach(std::coroutine_handle<Promise> h) {
        if constexpr (std::is_base_of_v<promise_base, Promise>) {
            awaited_by_ = &h.promise();
            job_ = h.promise().in;
        } else {
            awaited_by_ = nullptr;
            job_ = current().running;
        }
        if (job_ == nullptr) {
            throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                                    "sincpro: this must be awaited in a task that a worker runs; hand the task to "
                                    "sincpro::run_async_task");
        }
        loop_ = job_->loop;
        resume_ = h;
    }

    /// Suspends in this operation. False if the job is cancelled: then the resumption is queued already, behind all
    /// that waits, so that a task that ignores its cancellation does not starve the others.
    template <class Promise>
    bool begin(std::coroutine_handle<Promise> h) {
        attach(h);
        cancelled_ = job_->cancelled;
        link();
        if (cancelled_) complete();
        return !cancelled_;
    }

    void link() noexcept {
        older_ = job_->waits_in;
        newer_ = nullptr;
        if (older_ != nullptr) older_->newer_ = this;
        job_->waits_in = this;
        linked_ = true;
    }
    void unlink() noexcept {
        (newer_ != nullptr ? newer_->older_ : job_->waits_in) = older_;
        if (older_ != nullptr) older_->newer_ = newer_;
        linked_ = false;
    }

    void complete() noexcept {
        completed_ = true;
        loop_->post(*this);
    }
    void complete_cancelled() noexcept {
        cancelled_ = true;
        complete();
    }
    void throw_if_cancelled() const {
        if (cancelled_) throw operation_cancelled();
    }

    job* job_ = nullptr;
    executor* loop_ = nullptr;  // of the job, which may become another one of the same loop while this waits
    bool cancelled_ = false;
    bool linked_ = false;

private:
    friend job;
    friend cancel_list;
    static void resume(work& w) noexcept;
    static void set_root(operation& o, job* root) noexcept;

    bool completed_ = false;  // a cancellation comes too late
    promise_base* awaited_by_ = nullptr;
    std::coroutine_handle<> resume_;
    operation *older_ = nullptr, *newer_ = nullptr;
};

inline void cancel_list::add(job& j) noexcept {
    if (std::exchange(j.cancelled, true)) return;
    j.next_cancelled_ = std::exchange(first_, &j);
}

inline void cancel_list::run() noexcept {
    while (first_ != nullptr) {
        job& j = *std::exchange(first_, first_->next_cancelled_);
        for (operation* o = j.waits_in; o != nullptr;) {
            operation* const older = o->next_of_job();  // o may unlink itself, and only itself
            if (!o->completed_) o->cancel(*this);
            o = older;
        }
    }
}

/// Cancels `j` and all that it waits for. Executor's thread; resumes nothing by itself.
inline void cancel(job& j) noexcept {
    cancel_list list;
    list.add(j);
    list.run();
}

/// A task, as far as those who await or destroy it must know: the part of its promise that is the same for all.
struct promise_base {
    struct awaiting;
    enum class owner : unsigned char { task, job, foreign };

    job* in = nullptr;                     // null if it runs outside of any worker
    std::coroutine_handle<> continuation;  // set once its awaiter is suspended
    promise_base* awaiter = nullptr;       // if that is a task
    awaiting* awaits = nullptr;            // the child task that this one is suspended in
    await_location at;                     // its newest co_await, if there was one
    unsigned depth = 0;
    owner owned_by = owner::task;
    std::atomic<bool> passed{false};  // by one of {awaiter suspended, task ended}, of a foreign one: the second resumes
};

/// The job has ended, or is destroyed with a stranger's coroutine that awaits it, and coroutines of other libraries that
/// began to wait in it have not: they go to one that does not end.
inline void job::leave_waits() noexcept {
    if (loop->strays == nullptr || loop->strays == this) return;
    job& to = *loop->strays;
    cancel_list cancelled_too;
    while (waits_in != nullptr) {
        operation& o = *waits_in;
        o.unlink();
        o.job_ = &to;
        o.link();
        for (promise_base* p = o.awaited_by_; p != nullptr; p = p->awaiter) p->in = &to;
        operation::set_root(o, to.root);
        if (to.cancelled && !o.completed_) o.cancel(cancelled_too);
    }
    cancelled_too.run();
}
inline void operation::set_root(operation& o, job* root) noexcept {
    for (std::size_t i = 0; job* const c = o.child(i); ++i) {
        c->root = root;
        for (operation* inner = c->waits_in; inner != nullptr; inner = inner->older_) set_root(*inner, root);
    }
}

inline void operation::resume(work& w) noexcept {
    auto& self = static_cast<operation&>(w);
    if (self.linked_) self.unlink();
    static constexpr await_location nowhere{};
    self.completed_ = false;
    self.loop_->resume(*self.job_, self.resume_, self.awaited_by_ != nullptr ? self.awaited_by_->at : nowhere);
}

}  // namespace sincpro::detail

namespace sincpro {

/// True if the task that calls this has been cancelled, also while it has kept the worker thread busy; in a function that to_thread runs: the task that awaits it.
/// False in all other code. (asyncio.Task.cancelling)
inline bool cancellation_requested() noexcept {
    const detail::thread_state& thread = detail::current();
    if (const detail::job* const j = thread.running) {
        return j->cancelled || (!j->shielded && j->root->stop_requested());
    }
    return thread.function_cancelled != nullptr && thread.function_cancelled->load(std::memory_order_acquire);
}

}  // namespace sincpro
