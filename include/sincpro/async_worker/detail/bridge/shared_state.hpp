#pragma once

#include "../../errors.hpp"
#include "../../result.hpp"
#include "../../worker_options.hpp"
#include "../base/config.hpp"
#include "../base/frame_cache.hpp"
#include "../base/intrusive_list.hpp"
#include "../base/intrusive_ptr.hpp"
#include "../coroutine/task_job.hpp"
#include "../loop/work.hpp"

#include <atomic>
#include <exception>
#include <future>
#include <memory>
#include <type_traits>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../loop/spin_then_yield.hpp"
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class blocked_caller;
class job_runner;
class worker_thread;

/// Those that a worker was started with are its own until it ends.
struct shared_options final : worker_options, ref_counted<shared_options> {
    explicit shared_options(worker_options o) noexcept : worker_options(std::move(o)) {}
};

/// Who decided how a call ends. Whoever takes it from `open` first; a caller whose deadline has passed waits a while longer
/// for the outcome, so that may take the claim from `deadline`. `abandoned`: nobody is left who would get the outcome.
enum class claim : unsigned char { open, value, error, deadline, shutdown, abandoned };

/// How far the outcome is: `published` when it is in the std::promise and the worker has destroyed all else of the task;
/// `caller_sleeps` when the blocked_caller is to be woken then; `orphaned` in the child of a fork, where nobody goes on with the task, and what its worker was about to do with the
/// promise may be half done.
enum class phase : int { pending, caller_sleeps, published, orphaned };  // an int is what a futex waits for

/// A task that was handed to a worker, and what its caller and the worker share of it. Owned by the worker from submission
/// until the task has ended, and by the caller's task_future.
class shared_state : public task_job,
                     public work,                               // its start; after that, its cancellation
                     public intrusive_list_node<shared_state>,  // of the task_registry
                     public ref_counted<shared_state>,
                     public recycled {
public:
    static bool is_submission(const work& w) noexcept { return w.run == &shared_state::start; }

    // Any thread.

    /// Cancels the task soon, if it has not ended. Any number of times.
    void request_cancel() noexcept;
    /// As request_cancel(), for who posts the cancellation itself.
    void mark_cancelled() noexcept { marks_.fetch_or(cancel_requested, std::memory_order_acq_rel); }
    /// The task's own, or its worker's.
    SINCPRO_DETAIL_INLINE bool stop_requested() const noexcept final;

    /// True for one only of all that claim from the same state.
    bool take_claim(claim from, claim by) noexcept {
        return claimed_by_.compare_exchange_strong(from, by, std::memory_order_acq_rel);
    }
    /// True for one only of those that write the outcome.
    bool claim_outcome(claim by) noexcept { return take_claim(claim::open, by) || take_claim(claim::deadline, by); }
    claim claimed_by() const noexcept { return claimed_by_.load(std::memory_order_acquire); }

    bool is_published() const noexcept { return phase_.load(std::memory_order_acquire) == phase::published; }
    bool is_orphaned() const noexcept { return phase_.load(std::memory_order_relaxed) == phase::orphaned; }
    /// A std::future is ready a moment before the worker has destroyed what it moved the result from: waits for that.
    void wait_until_published() const noexcept;
    /// False if the outcome is published, else `c` is woken when it is.
    bool begin_sleep(blocked_caller& c) noexcept;
    /// False if the outcome is published, and whoever did that is about to wake the caller.
    bool end_sleep() noexcept;

    /// While the registry is locked or nobody else knows of this: ends the call, though the task goes on.
    void end_by_shutdown() noexcept;
    /// In the child of a fork.
    void orphan() noexcept;

    /// Before each submission: `r` is the runner of a worker_thread, to which this holds a reference until it is destroyed.
    void bind(job_runner& r) noexcept;
    worker_thread& thread() const noexcept;

    bool blocks_caller = false;  // inside run()
    bool blocks_main_thread = false;
    bool started = false;  // loop thread, or others while that stands still

protected:
    explicit shared_state(owned_frame f) noexcept;
    SINCPRO_DETAIL_INLINE virtual ~shared_state();

    virtual void end_cancelled() noexcept = 0;
    virtual void set_exception(std::exception_ptr error) noexcept = 0;

    // The end of the task, on the loop thread.

    /// False if the outcome is not to be published, since nobody is left who may get it; then `error` may be reported.
    bool begin_publish(bool is_value) noexcept;
    /// Moving the value into the promise threw. False if the future was dropped meanwhile.
    bool turn_value_into_error() noexcept;
    void end_publish() noexcept;
    void report_unobserved(const std::exception_ptr& error) noexcept;
    /// Removes this from the registry and gives the worker's reference away.
    void leave() noexcept;

private:
    friend ref_counted<shared_state>;
    static void start(work& w) noexcept;
    static void cancel_now(work& w) noexcept;

    std::atomic<claim> claimed_by_{claim::open};
    std::atomic<phase> phase_{phase::pending};
    blocked_caller* caller_ = nullptr;  // while it sleeps

    // Both in one, so that of a start and a cancellation the second one sees the first.
    static constexpr unsigned char cancel_requested = 1, left_queue = 2;  // the `work` may be posted again
    std::atomic<unsigned char> marks_{0};
};

/// The same for a result of type T, which goes to the caller through a std::promise.
template <class T>
class submitted_task final : public shared_state {
public:
    explicit submitted_task(task<T> t)
        : shared_state(task_access::take_frame(t)), promise_(std::allocator_arg, recycling_allocator<char>()) {}

    std::future<T> get_future() { return promise_.get_future(); }

private:
    void ended() noexcept override {
        result<T> outcome;
        take_outcome(outcome);
        end_with(outcome);
    }
    void end_cancelled() noexcept override {
        destroy_frame();
        result<T> outcome;
        result_access::set_exception(outcome, exception_of<operation_cancelled>());
        end_with(outcome);
    }
    void end_with(result<T>& outcome) noexcept {
        const bool is_value = static_cast<bool>(outcome);
        if (begin_publish(is_value)) {
            if (is_value) {
                publish_value(outcome);
            } else {
                set_exception(std::move(outcome).error());
            }
            result_access::clear(outcome);
            end_publish();
        } else {
            report_unobserved(std::move(outcome).error());
            result_access::clear(outcome);
        }
        leave();
    }
    // Who fills the promise destroys it too, so that the future alone keeps what is in it from then on.
    void publish_value(result<T>& outcome) noexcept {
        try {
            if constexpr (std::is_void_v<T>) {
                promise_.set_value();
            } else {
                promise_.set_value(std::move(outcome).value());
            }
            const std::promise<T> filled = std::move(promise_);
        } catch (...) {
            if (turn_value_into_error()) {
                set_exception(std::current_exception());
            } else {
                report_unobserved(std::current_exception());
            }
        }
    }
    void set_exception(std::exception_ptr error) noexcept override {
        const tsan_ignore_scope last_reference_to_the_exception;
        promise_.set_exception(std::move(error));
        const std::promise<T> filled = std::move(promise_);
    }

    std::promise<T> promise_;
};

#if SINCPRO_DETAIL_DEFINITIONS

// What needs the worker_thread is defined in its header.

SINCPRO_DETAIL_INLINE void shared_state::wait_until_published() const noexcept {
    const auto is_there = [this] { return phase_.load(std::memory_order_acquire) != phase::pending; };
    if (spin_then_yield(is_there)) return;
    phase_.wait(phase::pending, std::memory_order_acquire);
}

SINCPRO_DETAIL_INLINE bool shared_state::turn_value_into_error() noexcept {
    return take_claim(claim::value, claim::error);
}

SINCPRO_DETAIL_COLD void shared_state::end_by_shutdown() noexcept {
    if (!claim_outcome(claim::shutdown)) return;
    set_exception(exception_of<worker_stopped>());
    end_publish();
}

SINCPRO_DETAIL_COLD void shared_state::orphan() noexcept {
    if (is_published()) return;
    phase_.store(phase::orphaned, std::memory_order_relaxed);
#if !defined(_LIBCPP_VERSION)  // in whose promise another thread may hold a lock
    if (claim_outcome(claim::shutdown)) set_exception(exception_of<worker_stopped>());  // for a plain std::future
#endif
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
