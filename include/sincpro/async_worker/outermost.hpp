#pragma once

#include "cancellation.hpp"
#include "errors.hpp"
#include "result.hpp"
#include "task.hpp"

#include <coroutine>
#include <exception>
#include <stdexcept>
#include <utility>

namespace sincpro::detail {

/// Owns the outermost task of a job.
template <class T>
class outermost {
public:
    explicit outermost(task<T> t) : frame_(std::exchange(t.frame_, nullptr)) {
        if (!frame_) promise_base::awaiting::throw_empty();
    }
    outermost(outermost&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    outermost& operator=(outermost&&) = delete;
    ~outermost() { destroy(); }

    /// Null, and the job is done, if it was moved from.
    std::coroutine_handle<> begin(job& in, unsigned depth = 0) noexcept {
        in.done = !frame_;
        if (in.done) return nullptr;
        promise_base& p = frame_.promise();
        p.in = &in;
        p.owned_by = promise_base::owner::job;
        p.depth = depth;
        return frame_;
    }
    /// Moves out what it ended with, which may throw too, and destroys the frame.
    void finish(result<T>& outcome) noexcept {
        if (!frame_) return outcome.fail(exception_of<std::logic_error>(promise_base::awaiting::empty));
        try {
            outcome = std::move(frame_.promise().outcome);
        } catch (...) {
            outcome.fail(std::current_exception());
        }
        if (!outcome && !outcome.error()) outcome.fail(exception_of<std::logic_error>(no_result));
        destroy();
    }
    void destroy() noexcept {
        if (const auto frame = std::exchange(frame_, nullptr)) promise_base::awaiting::destroy(frame, frame.promise());
    }

private:
    std::coroutine_handle<task_promise<T>> frame_;
};

}  // namespace sincpro::detail
