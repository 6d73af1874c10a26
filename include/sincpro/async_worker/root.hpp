#pragma once

#include "outermost.hpp"
#include "result.hpp"
#include "worker_loop.hpp"

#include <coroutine>
#include <exception>
#include <utility>

namespace sincpro::detail {

/// A task that was handed to a worker. What it ends with goes to its caller, how is for the derived class to say.
template <class T>
class root : public root_base {
public:
    root(task<T> t, counted_ptr<call_state> c) : root_base(std::move(c)), task_(std::move(t)) {}

private:
    std::coroutine_handle<> begin() noexcept final { return task_.begin(*this); }

    void finished() noexcept final {
        result<T> outcome;
        task_.finish(outcome);
        end_with(outcome);
    }
    void end_cancelled() noexcept final {
        task_.destroy();
        result<T> outcome;
        outcome.fail(exception_of<operation_cancelled>());
        end_with(outcome);
    }

    void end_with(result<T>& outcome) noexcept {
        const bool wanted = call->try_claim_outcome(claim::result);
        auto& on = static_cast<worker_loop&>(*loop);
        const bool may_return = on.may_return(*call);  // nor may a promise break: it is left
        if (wanted && may_return) {
            const unseen_by_thread_sanitizer last_reference_to_the_exception;
            publish(outcome);
        }
        on.forget(*this);  // after that: in the child of a fork its call ends too
        const unseen_by_thread_sanitizer freeing;
        if (may_return) delete this;
    }

    /// Moves `outcome` to the caller and clears it, and lets the caller go on when nothing is left to destroy.
    virtual void publish(result<T>& outcome) noexcept = 0;

    outermost<T> task_;
};

}  // namespace sincpro::detail
