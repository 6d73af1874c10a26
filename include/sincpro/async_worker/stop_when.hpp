#pragma once

#include "child_job.hpp"

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>

namespace sincpro {

namespace detail {

template <class T>
class stop_when_operation final : public structured_operation {
public:
    stop_when_operation(task<T> t, std::stop_token token) : child_(std::move(t)), token_(std::move(token)) {}
    stop_when_operation(stop_when_operation&& other) noexcept
        : child_(std::move(other.child_)), token_(std::move(other.token_)) {}
    ~stop_when_operation() {
        callback_.reset();
        if (!posted_.load(std::memory_order_acquire)) return;
        loop_->collect();
        if (request_.queued()) request_.leave_queue();
    }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return true;
        cancelled_ = token_.stop_requested();
        if (!cancelled_) {
            callback_.emplace(token_, post_request{this});
            if (run_children() || !no_request_left()) return true;
        }
        unlink();
        return false;
    }
    T await_resume() {
        throw_if_cancelled();
        return std::move(child_.outcome).value();
    }

private:
    struct request : work {
        explicit request(stop_when_operation& o) noexcept : work(&request::arrive), of(o) {}
        static void arrive(work& w) noexcept { static_cast<request&>(w).of.request_arrived(); }
        stop_when_operation& of;
    };
    struct post_request {
        stop_when_operation* of;
        void operator()() const noexcept {  // once, on the thread that requests the stop
            of->posted_.store(true, std::memory_order_release);
            of->loop_->post(of->request_);
        }
    };

    void request_arrived() noexcept {
        posted_.store(false, std::memory_order_relaxed);
        if (ended_) {
            complete();
        } else {
            stop_children();
        }
    }
    /// The child has ended, so this may end too, unless the loop still has the request to see.
    bool no_request_left() noexcept {
        callback_.reset();  // waits for a callback that is running
        ended_ = true;
        return !posted_.load(std::memory_order_acquire);  // pairs with the release of post_request
    }
    void all_finished() noexcept override {
        if (no_request_left()) complete();
    }
    child_job* child(std::size_t i) noexcept override { return i == 0 ? &child_ : nullptr; }

    detail::child<T> child_;
    std::stop_token token_;
    std::optional<std::stop_callback<post_request>> callback_;
    request request_{*this};
    std::atomic<bool> posted_{false};
    bool ended_ = false;
};

}  // namespace detail

/// Runs `a`, and cancels it when a stop is requested of `token`, on any thread; waits until it has ended, and gives what it
/// ends with. If the stop was requested before, `a` is not started and this throws operation_cancelled.
/// (stdexec::stop_when)
template <class A>
[[nodiscard]] auto stop_when(A&& a, std::stop_token token) {
    return detail::stop_when_operation<detail::task_result_t<A>>(detail::as_task(std::forward<A>(a)), std::move(token));
}

static_assert(awaitable<detail::stop_when_operation<int>>);

}  // namespace sincpro
#endif
