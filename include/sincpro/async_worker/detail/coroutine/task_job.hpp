#pragma once

#include "../../errors.hpp"
#include "../../result.hpp"
#include "../base/config.hpp"
#include "job.hpp"
#include "task_promise.hpp"

#include <coroutine>
#include <exception>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// A job that runs a task and owns its frame.
class task_job : public job {
public:
    task_job(job_runner* r, owned_frame f) noexcept : job(r), frame_(f.frame), promise_(f.promise) {}
    /// Of one that has not begun.
    task_job(task_job&& other) noexcept
        : job(other.runner), frame_(std::exchange(other.frame_, nullptr)), promise_(other.promise_) {}
    task_job& operator=(task_job&&) = delete;

    /// What is to be resumed for the task to run. Null, and the job is done, if it was moved from.
    std::coroutine_handle<> begin(unsigned depth = 0) noexcept;

    void destroy_frame() noexcept;

protected:
    ~task_job() { destroy_frame(); }

    /// Moves out what the task has ended with, which may throw too, and destroys the frame.
    template <class T>
    void take_outcome(result<T>& outcome) noexcept {
        if (!frame_) return result_access::set_exception(outcome, make_awaited_before());
        try {
            outcome = std::move(static_cast<task_promise<T>*>(promise_)->outcome);
        } catch (...) {
            result_access::set_exception(outcome, std::current_exception());
        }
        if (!outcome && !outcome.error()) result_access::set_exception(outcome, nullptr);
        destroy_frame();
    }

private:
    std::coroutine_handle<> frame_;
    promise_base* promise_ = nullptr;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE std::coroutine_handle<> task_job::begin(unsigned depth) noexcept {
    done = !frame_;
    if (done) return nullptr;
    promise_->in = this;
    promise_->owned_by = promise_base::owner::job;
    promise_->depth = depth;
    return frame_;
}
SINCPRO_DETAIL_INLINE void task_job::destroy_frame() noexcept {
    if (const auto frame = std::exchange(frame_, nullptr)) detail::destroy_frame(frame, *promise_);
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
