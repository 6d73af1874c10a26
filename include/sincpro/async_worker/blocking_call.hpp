#pragma once

#include "errors.hpp"
#include "root.hpp"
#include "trace.hpp"
#include "worker_loop.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace sincpro::detail {

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

/// The caller's side of a run(): carries the outcome itself, since a std::promise takes two allocations and a system call
/// even if nobody sleeps, 0.4 us of 3.7.
class blocking_call : public call_state {
public:
    explicit blocking_call(bool on_main_thread) noexcept {
        blocks_caller = true;
        blocks_main_thread = on_main_thread;
    }

    /// The calling thread: returns when the outcome is there. After the deadline it cancels the task, and throws
    /// timeout_error when that has ended, or has not within the time of grace.
    void wait(clock::time_point deadline, clock::duration limit) {
        if (look([this] { return published(); }) || sleep(deadline)) return;
        if (!try_claim(claim::deadline)) {
            sleep(clock::time_point::max());
            return;
        }
        auto& on = static_cast<worker_loop&>(*loop);
        const counted_ptr<deadline_request> request = request_cancel_and_trace();
        bool published = sleep(deadline_after(saturate(on.options.cancel_grace)));
        while (!on.may_return(*this)) std::this_thread::sleep_for(std::chrono::hours(1));  // the process ends meanwhile
        published = published || !abandon();
        if (published && claimed_by.load(std::memory_order_acquire) == claim::result) {
            try {
                if (const std::exception_ptr error = drop_outcome()) std::rethrow_exception(error);
            } catch (const operation_cancelled&) {  // as it should
            } catch (...) {
                std::throw_with_nested(make_timeout_error(limit, true, answer(request)));
            }
            throw make_timeout_error(limit, true, answer(request));
        }
        throw make_timeout_error(limit, false, answer(request), on.describe_busy(*this));
    }

    /// The worker: the outcome is there. False if the caller has gone.
    bool publish() noexcept {
        const phase before = at.exchange(phase::published, std::memory_order_acq_rel);
        if (before == phase::awaited) {
            { const std::lock_guard wait_until_it_sleeps(mutex_); }
            published_.notify_one();
        }
        return before != phase::abandoned;
    }

    /// Destroys the outcome; returns the exception if it was one.
    virtual std::exception_ptr drop_outcome() noexcept = 0;

private:
    /// True if it is published before `until`.
    bool sleep(clock::time_point until) {
        std::unique_lock lock(mutex_);
        phase pending = phase::pending;
        at.compare_exchange_strong(pending, phase::awaited, std::memory_order_acq_rel, std::memory_order_acquire);
        const auto there = [this] { return published(); };
        return wait_until_there(published_, lock, until, there);
    }
    /// False if it is published.
    bool abandon() noexcept {
        phase awaited = phase::awaited;
        return at.compare_exchange_strong(awaited, phase::abandoned, std::memory_order_acq_rel);
    }

    counted_ptr<deadline_request> request_cancel_and_trace() noexcept {
        hold();
        const counted_ptr<call_state> self(this);
        try {
            counted_ptr<deadline_request> request(new deadline_request(self));
            request->hold();
            cancel_requested.store(true, std::memory_order_release);  // for a task that is not started, or busy
            if (!loop->post(*request)) request->drop();
            return request;
        } catch (const std::bad_alloc&) {
            request_cancel();
            return {};
        }
    }
    static std::vector<await_location> answer(const counted_ptr<deadline_request>& r) {
        return r ? r->answer() : std::vector<await_location>();
    }

    std::mutex mutex_;
    std::condition_variable published_;
};

template <class T>
class blocking_call_of final : public blocking_call {
public:
    using blocking_call::blocking_call;

    T take() { return take_out(outcome); }  // here, not when the worker lets go of this
    std::exception_ptr drop_outcome() noexcept override {
        std::exception_ptr error = std::move(outcome).error();
        outcome.clear();
        return error;
    }

    result<T> outcome;  // who has the claim writes it, until it is published
};

/// A task whose caller blocks.
template <class T>
class blocking_root final : public root<T> {
public:
    blocking_root(task<T> t, counted_ptr<blocking_call_of<T>> c) : root<T>(std::move(t), std::move(c)) {}

private:
    blocking_call_of<T>& caller() const noexcept { return static_cast<blocking_call_of<T>&>(*this->call); }

    void publish(result<T>& outcome) noexcept override {
        try {
            caller().outcome = std::move(outcome);
        } catch (...) {
            caller().outcome.fail(std::current_exception());
        }
        outcome.clear();
        publish();
    }
    void fail(std::exception_ptr error) noexcept override {
        caller().outcome.fail(std::move(error));
        publish();
    }
    void publish() noexcept {
        if (caller().publish()) return;
        if (const std::exception_ptr error = caller().drop_outcome()) {
            static_cast<worker_loop&>(*this->loop).report_unobserved(error);
        }
    }
};

}  // namespace sincpro::detail
