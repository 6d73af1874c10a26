#pragma once

#include "../../result.hpp"
#include "../base/config.hpp"
#include "../base/frame_cache.hpp"
#include "../base/function.hpp"
#include "operation.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../../errors.hpp"
#include "../loop/event_loop.hpp"
#include "job_runner.hpp"

#include <future>
#include <stdexcept>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// What a task that awaits a callback and the holders of its completion share; what does not depend on the value.
class callback_state : public recycled {
public:
    using hook = std::function<void()>;

    callback_state() noexcept = default;
    callback_state(const callback_state&) = delete;
    callback_state& operator=(const callback_state&) = delete;

    // For the completions, on any thread.

    /// True if the task will get what `store(context, outcome)` puts into its outcome. Of what comes after a cancellation it
    /// gets only a value.
    bool complete(bool is_value, void (*store)(void* context, callback_state& state), void* context);
    bool fail(std::exception_ptr error);
    bool on_cancel(hook abort);
    void add_completion() noexcept { completions_.fetch_add(1, std::memory_order_relaxed); }
    /// The last one to go resumes the task, if nobody has.
    void release_completion() noexcept;

    // For the task's operation, on the worker thread.

    /// False if the callback has come already.
    bool wait(operation& o, event_loop& loop) noexcept;
    /// Of a job that waits. True if it may go on at once; else the callback will resume it.
    bool cancel(job& waiting) noexcept;
    /// The operation ends without having been resumed.
    void leave() noexcept;
    /// What was to begin the other library's operation has thrown.
    void end_with_current_exception() noexcept;
    void throw_if_cancelled();
    void release() noexcept {
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

protected:
    virtual ~callback_state() = default;
    virtual void set_exception(std::exception_ptr error) noexcept = 0;

private:
    enum class phase : unsigned char { pending, completed, aborting, cancelled };

    std::atomic<unsigned> completions_{1};  // copies of the completion
    std::atomic<unsigned> owners_{2};       // the operation, and one for all completions
    std::mutex mutex_;
    phase phase_ = phase::pending;
    operation* waiter_ = nullptr;
    event_loop* loop_ = nullptr;
    hook abort_;
};

template <class T>
class callback_state_of final : public callback_state {
public:
    result<T> outcome;

private:
    void set_exception(std::exception_ptr error) noexcept override {
        result_access::set_exception(outcome, std::move(error));
    }
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE bool callback_state::complete(bool is_value, void (*store)(void*, callback_state&),
                                                    void* context) {
    hook dropped;  // after the lock is released: it may hold the last completion
    const std::lock_guard lock(mutex_);
    if (phase_ != phase::pending && phase_ != phase::aborting) return false;
    const bool wanted = phase_ == phase::pending || is_value;
    if (wanted) store(context, *this);
    phase_ = wanted ? phase::completed : phase::cancelled;
    dropped.swap(abort_);
    if (waiter_ != nullptr) loop_->post(*std::exchange(waiter_, nullptr));
    return wanted;
}

SINCPRO_DETAIL_INLINE bool callback_state::fail(std::exception_ptr error) {
    if (!error) {
        error = exception_of<std::logic_error>("sincpro: completion::fail() was called without an exception");
    }
    return complete(
        false,
        [](void* context, callback_state& s) {
            s.set_exception(std::move(*static_cast<std::exception_ptr*>(context)));
        },
        &error);
}

SINCPRO_DETAIL_INLINE void callback_state::release_completion() noexcept {
    if (completions_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    complete(
        false,
        [](void*, callback_state& s) {
            s.set_exception(exception_of<std::future_error>(std::future_errc::broken_promise));
        },
        nullptr);
    release();
}

SINCPRO_DETAIL_INLINE bool callback_state::on_cancel(hook abort) {
    const std::lock_guard lock(mutex_);
    if (phase_ != phase::pending) return false;
    abort_.swap(abort);
    return true;
}

SINCPRO_DETAIL_INLINE bool callback_state::wait(operation& o, event_loop& loop) noexcept {
    const std::lock_guard lock(mutex_);
    if (phase_ != phase::pending) return false;
    waiter_ = &o;
    loop_ = &loop;
    return true;
}

SINCPRO_DETAIL_INLINE bool callback_state::cancel(job& waiting) noexcept {
    hook abort;
    {
        const std::lock_guard lock(mutex_);
        if (phase_ != phase::pending) return false;
        abort.swap(abort_);
        phase_ = abort ? phase::aborting : phase::cancelled;
        if (!abort) waiter_ = nullptr;
    }
    if (!abort) return true;
    const job_runner::running_scope called(*waiting.runner, {waiting.root, {}, "a hook of completion::on_cancel"});
    job* const before = std::exchange(this_thread().running, &waiting);  // what it begins is part of the task
    abort();
    abort = nullptr;
    this_thread().running = before;
    return false;
}

SINCPRO_DETAIL_INLINE void callback_state::leave() noexcept {
    hook dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(abort_);
    if (phase_ != phase::completed) phase_ = phase::cancelled;
    waiter_ = nullptr;
}

SINCPRO_DETAIL_INLINE void callback_state::end_with_current_exception() noexcept {
    hook dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(abort_);
    set_exception(std::current_exception());
    phase_ = phase::completed;
}

SINCPRO_DETAIL_INLINE void callback_state::throw_if_cancelled() {
    const std::lock_guard lock(mutex_);
    if (phase_ != phase::completed) throw operation_cancelled();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
