#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "shared_state.hpp"

#include <exception>
#include <future>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../../errors.hpp"
#include "../base/intrusive_ptr.hpp"
#include "../coroutine/async_stack_trace.hpp"
#include "../loop/spin_then_yield.hpp"
#include "../loop/work.hpp"
#include "blocked_caller.hpp"
#include "task_registry.hpp"
#include "worker_thread.hpp"

#include <atomic>
#include <chrono>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// A std::future of any type, for code that is compiled once.
class any_future {
public:
    /// Takes the outcome out: null for a value, which is destroyed.
    virtual std::exception_ptr take_error() noexcept = 0;

protected:
    ~any_future() = default;
};

template <class T>
class any_future_of final : public any_future {
public:
    explicit any_future_of(std::future<T>& f) noexcept : future_(f) {}

    std::exception_ptr take_error() noexcept override {
        try {
            static_cast<void>(future_.get());
            return nullptr;
        } catch (...) {
            return std::current_exception();
        }
    }

private:
    std::future<T>& future_;
};

/// The calling thread of run(): returns when the outcome is in the future. When the deadline passes first it cancels the
/// task, waits for the grace, and throws timeout_error; when the thread's stack is unwound it does the same before.
void wait_with_deadline(shared_state& s, any_future& future, clock::time_point deadline, clock::duration limit);

#if SINCPRO_DETAIL_DEFINITIONS

/// Asks the loop where a task is, and then cancels it.
class trace_and_cancel final : public work, public ref_counted<trace_and_cancel> {
public:
    explicit trace_and_cancel(shared_state& s) noexcept : work(&trace_and_cancel::arrive), state_(share(s)) {}
    ~trace_and_cancel() = default;

    /// Null if there is no memory for it: then the task is only cancelled.
    static intrusive_ptr<trace_and_cancel> request(shared_state& s) noexcept {
        intrusive_ptr<trace_and_cancel> r(new (std::nothrow) trace_and_cancel(s));
        if (!r) {
            s.request_cancel();
            return r;
        }
        s.mark_cancelled();
        r->add_ref();
        if (!s.thread().post(*r)) r->release();
        return r;
    }
    /// Empty as long as the loop has not answered.
    std::vector<await_location> answer() const {
        return answered_.load(std::memory_order_acquire) ? chain_ : std::vector<await_location>();
    }

private:
    static void arrive(work& w) noexcept {
        const intrusive_ptr<trace_and_cancel> self(static_cast<trace_and_cancel*>(&w));
        shared_state& s = *self->state_;
        if (!task_registry::contains(s)) return;
        try {
            append_trace(s, self->chain_);
            self->answered_.store(true, std::memory_order_release);
        } catch (const std::bad_alloc&) {  // the cancellation is more important than where
        }
        s.cancel();
    }

    intrusive_ptr<shared_state> state_;
    std::vector<await_location> chain_;
    std::atomic<bool> answered_{false};
};

/// The end of a call of run(), whichever way it takes: also when the caller's stack is unwound while it waits.
class ending_call {
public:
    explicit ending_call(shared_state& s) noexcept : state_(s), caller_(new (std::nothrow) blocked_caller) {}
    ending_call(const ending_call&) = delete;
    ending_call& operator=(const ending_call&) = delete;
    /// The task must not be left with what is on a stack that is unwound.
    ~ending_call() {
        if (may_leave_) return;
        if (state_.take_claim(claim::open, claim::deadline) || state_.claimed_by() == claim::deadline) {
            state_.request_cancel();
            wait_for_grace();
        } else {
            wait();
        }
    }

    /// True when the outcome is published.
    bool wait_until(clock::time_point until) {
        if (caller_) return caller_->wait_until(state_, until);
        // There is no memory to sleep in.
        while (!state_.is_published() && clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return state_.is_published();
    }
    void wait() {
        wait_until(never);
        may_leave_ = true;
    }
    /// After the cancellation. False if the task has not stopped: the worker then owns it until it has.
    bool wait_for_grace() {
        worker_thread& on = state_.thread();
        const bool ended = wait_until(deadline_after(saturate(on.options().cancel_grace)));
        while (!on.may_return(state_))
            std::this_thread::sleep_for(std::chrono::hours(1));  // the process ends meanwhile
        may_leave_ = !ended && state_.take_claim(claim::deadline, claim::abandoned);
        if (may_leave_) return false;
        wait();
        return state_.claimed_by() != claim::shutdown;
    }

private:
    shared_state& state_;
    const intrusive_ptr<blocked_caller> caller_;
    bool may_leave_ = false;
};

SINCPRO_DETAIL_INLINE void wait_with_deadline(shared_state& s, any_future& future, clock::time_point deadline,
                                              clock::duration limit) {
    if (spin_then_yield([&] { return s.is_published(); })) return;
    ending_call call(s);
    if (call.wait_until(deadline) || !s.take_claim(claim::open, claim::deadline)) return call.wait();
    worker_thread& on = s.thread();
    const intrusive_ptr<trace_and_cancel> request = trace_and_cancel::request(s);
    const bool task_stopped = call.wait_for_grace();
    const timeout_error timeout =
        make_timeout_error(limit, task_stopped, request ? request->answer() : std::vector<await_location>(),
                           task_stopped ? std::string() : on.describe_busy(s));
    if (task_stopped) {
        try {
            if (const std::exception_ptr error = future.take_error()) std::rethrow_exception(error);
        } catch (const operation_cancelled&) {  // as it should
        } catch (...) {
            std::throw_with_nested(timeout);
        }
    }
    throw timeout;
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
