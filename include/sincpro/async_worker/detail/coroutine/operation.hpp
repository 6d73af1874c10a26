#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "../loop/work.hpp"
#include "job.hpp"

#include <coroutine>
#include <cstddef>
#include <type_traits>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../loop/event_loop.hpp"
#include "job_runner.hpp"

#include <system_error>
#include <utility>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// What a coroutine of a job is suspended in. Copies of one that has not begun are independent of it.
///
/// begin() enters it into its job's list; complete() queues the resumption, which takes it out; a cancellation after that
/// has no effect.
class operation : public work, public intrusive_list_node<operation> {
public:
    operation(const operation&) noexcept;
    operation& operator=(const operation&) = delete;

    /// The job is cancelled. Ends the operation, or sees to it that it ends soon; a structured one adds its children.
    virtual void cancel(cancel_list& more) noexcept = 0;

    /// Jobs that this waits for, in order; null at the end.
    virtual job* child(std::size_t) noexcept { return nullptr; }

    const promise_base* awaited_by() const noexcept { return awaited_by_; }

protected:
    operation() noexcept;
    ~operation();

    /// Takes the job from the coroutine that awaits this; only under another library's promise from the thread. Throws where
    /// no worker runs.
    template <class Promise>
    void attach(std::coroutine_handle<Promise> h) {
        if constexpr (std::is_base_of_v<promise_base, Promise>) {
            attach(h, &h.promise(), h.promise().in);
        } else {
            attach(h, nullptr, this_thread().running);
        }
    }

    /// Suspends in this operation. False if the job is cancelled: then the resumption is queued already, behind all
    /// that waits, so that a task that ignores its cancellation does not starve the others.
    template <class Promise>
    bool begin(std::coroutine_handle<Promise> h) {
        attach(h);
        return begin();
    }

    /// What await_suspend() returns for one that has begun and is ready: false, and it has left its job; now and then it
    /// goes through the queue instead.
    bool ready_at_once() noexcept;

    void enter_job() noexcept { job_->waiting.push_front(*this); }
    void leave_job() noexcept { intrusive_list_node<operation>::unlink(); }
    bool is_in_job() const noexcept { return intrusive_list_node<operation>::is_linked(); }
    bool is_queued() const noexcept { return intrusive_list_node<work>::is_linked(); }
    void leave_queue() noexcept { intrusive_list_node<work>::unlink(); }

    void complete() noexcept;
    void complete_cancelled() noexcept {
        cancelled_ = true;
        complete();
    }
    void throw_if_cancelled() const {
        if (cancelled_) throw operation_cancelled();
    }

    job* job_ = nullptr;
    event_loop* loop_ = nullptr;  // of the job, which may become another one of the same loop while this waits
    bool cancelled_ = false;

    bool awaits_other_library_ = false;  // an adapter_base
    static bool awaits_other_library(const operation& o) noexcept { return o.awaits_other_library_; }

private:
    friend job;
    friend cancel_list;
    void attach(std::coroutine_handle<> h, promise_base* awaited_by, job* in);
    bool begin() noexcept;
    static void resume(work& w) noexcept;
    static void set_root(operation& o, job* root) noexcept;

    bool completed_ = false;  // a cancellation comes too late
    promise_base* awaited_by_ = nullptr;
    std::coroutine_handle<> resume_;
};

/// Goes through the loop's queue.
class yield_operation : public operation {
public:
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (begin(h)) complete();
    }
    void await_resume() const { throw_if_cancelled(); }
    void cancel(cancel_list&) noexcept final {}
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE operation::operation() noexcept : work(&operation::resume) {}
SINCPRO_DETAIL_INLINE operation::operation(const operation& other) noexcept
    : work(&operation::resume), intrusive_list_node<operation>(other) {}
SINCPRO_DETAIL_INLINE operation::~operation() {
    if (is_in_job()) {
        leave_job();
        loop_->collect_posted();  // another thread may have posted it
    }
    if (is_queued()) leave_queue();
}

SINCPRO_DETAIL_INLINE void operation::attach(std::coroutine_handle<> h, promise_base* awaited_by, job* in) {
    if (in == nullptr) {
        throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                                "sincpro: this must be awaited in a task that a worker runs; hand the task to "
                                "sincpro::run_async_task");
    }
    awaited_by_ = awaited_by;
    job_ = in;
    loop_ = &in->runner->loop;
    resume_ = h;
}

SINCPRO_DETAIL_INLINE bool operation::begin() noexcept {
    cancelled_ = job_->cancelled;
    enter_job();
    if (cancelled_) complete();
    return !cancelled_;
}

SINCPRO_DETAIL_INLINE bool operation::ready_at_once() noexcept {
    if (job_->runner->is_turn_due()) {
        job_->has_ignored_cancel();
        complete();
        return true;
    }
    leave_job();
    return false;
}

SINCPRO_DETAIL_INLINE void operation::complete() noexcept {
    completed_ = true;
    loop_->post(*this);
}

SINCPRO_DETAIL_INLINE void operation::resume(work& w) noexcept {
    auto& self = static_cast<operation&>(w);
    if (self.is_in_job()) self.leave_job();
    static constexpr await_location nowhere{};
    self.completed_ = false;
    self.job_->runner->resume(*self.job_, self.resume_, self.awaited_by_ != nullptr ? self.awaited_by_->at : nowhere);
}

// A list instead of recursion, since jobs nest to any depth.
SINCPRO_DETAIL_COLD void operation::set_root(operation& o, job* root) noexcept {
    job* todo = nullptr;
    const auto add_children = [&](operation& of) {
        for (std::size_t i = 0; job* const c = of.child(i); ++i) {
            c->root = root;
            c->next_ = std::exchange(todo, c);
        }
    };
    add_children(o);
    while (todo != nullptr) {
        for (operation& inner : std::exchange(todo, todo->next_)->waiting) add_children(inner);
    }
}

SINCPRO_DETAIL_INLINE bool is_running_job_cancelled() noexcept {
    const job* const j = this_thread().running;
    return j != nullptr && j->cancelled;
}

SINCPRO_DETAIL_INLINE job::~job() {
    if (!waiting.empty()) detach_operations();
}

SINCPRO_DETAIL_INLINE void job::run(std::coroutine_handle<> h) noexcept {
    thread_context& thread = this_thread();
    job* const before = std::exchange(thread.running, this);
    trampoline(thread).run(h);
    if (done) {
        thread.running = &runner->detached;  // for what its destructors begin
        if (!waiting.empty()) detach_operations();
        ended();
    }
    thread.running = before;
}

SINCPRO_DETAIL_INLINE void job::cancel() noexcept {
    cancel_list list;
    list.add(*this);
    list.run();
}

// The job has ended, or is destroyed with another library's coroutine that awaits it, and coroutines of other libraries that
// began to wait in it have not.
SINCPRO_DETAIL_COLD void job::detach_operations() noexcept {
    job& to = runner->detached;
    if (&to == this) return;
    cancel_list cancelled_too;
    while (!waiting.empty()) {
        operation& o = waiting.front();
        o.leave_job();
        o.job_ = &to;
        o.enter_job();
        for (promise_base* p = o.awaited_by_; p != nullptr; p = p->awaiter) p->in = &to;
        operation::set_root(o, to.root);
        if (to.cancelled && !o.completed_) o.cancel(cancelled_too);
    }
    cancelled_too.run();
}

SINCPRO_DETAIL_INLINE void cancel_list::add(job& j) noexcept {
    if (std::exchange(j.cancelled, true)) return;
    j.next_ = std::exchange(first_, &j);
}

SINCPRO_DETAIL_INLINE void cancel_list::run() noexcept {
    while (first_ != nullptr) {
        job& j = *std::exchange(first_, first_->next_);
        for (auto i = j.waiting.begin(); i != j.waiting.end();) {
            operation& o = *i;
            ++i;  // before o leaves the list, as only o may do
            if (!o.completed_) o.cancel(*this);
        }
    }
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
