#pragma once

#include "errors.hpp"
#include "task_future.hpp"
#include "trace.hpp"
#include "worker_loop.hpp"

#include <atomic>
#include <exception>
#include <future>
#include <new>
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

/// How run() waits: looks for a moment, then blocks on the future; at the deadline it cancels.
struct blocking_call {
    template <class T>
    static T wait(task_future<T> f) {
        look([&] { return f.ready(); });
        return f.get();
    }

    template <class T>
    static T wait(task_future<T> f, clock::time_point deadline, clock::duration limit) {
        if (deadline == clock::time_point::max()) return wait(std::move(f));
        if (look([&] { return f.ready(); }) || f.wait_until(deadline) == std::future_status::ready ||
            !f.call_->try_claim(claim::deadline)) {
            return f.get();
        }
        const counted_ptr<call_state> call = f.call_;
        auto& loop = static_cast<worker_loop&>(*call->loop);
        const counted_ptr<deadline_request> request = cancel(call);
        const std::future_status ended = f.wait_until(deadline_after(saturate(loop.options.cancel_grace)));
        // If it is not ready, and yet an exception is on its way into the future, the task has ended after all.
        if (ended == std::future_status::ready || call->fate_shared.exchange(true, std::memory_order_acq_rel)) {
            try {
                static_cast<void>(f.get());
            } catch (const operation_cancelled&) {  // as it should
            } catch (...) {
                std::throw_with_nested(make_timeout_error(limit, true, answer(request)));
            }
            throw make_timeout_error(limit, true, answer(request));
        }
        f.call_ = {};  // dropped already
        throw make_timeout_error(limit, false, answer(request), loop.describe_busy(*call));
    }

private:
    static counted_ptr<deadline_request> cancel(const counted_ptr<call_state>& call) noexcept {
        try {
            counted_ptr<deadline_request> request(new deadline_request(call));
            request->hold();
            if (!call->loop->post(*request)) request->drop();
            call->cancel_requested.store(true, std::memory_order_release);  // for a task that is not started, or busy
            return request;
        } catch (const std::bad_alloc&) {
            call->request_cancel();
            return {};
        }
    }
    static std::vector<await_location> answer(const counted_ptr<deadline_request>& r) {
        return r ? r->answer() : std::vector<await_location>();
    }
};

}  // namespace sincpro::detail
