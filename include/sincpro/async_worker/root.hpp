#pragma once

#include "frame_pool.hpp"
#include "result.hpp"
#include "task.hpp"
#include "worker_loop.hpp"

#include <coroutine>
#include <exception>
#include <future>
#include <memory>
#include <type_traits>
#include <utility>

namespace sincpro::detail {

/// A task that was handed to a worker, and the promise that its result goes to.
template <class T>
class root final : public root_base {
public:
    root(task<T> t, counted_ptr<call_state> c)
        : root_base(std::move(c)), task_(std::move(t)), promise_(std::allocator_arg, recycling_allocator<char>()) {}

    std::future<T> get_future() { return promise_.get_future(); }

private:
    std::coroutine_handle<> begin() noexcept override { return task_.begin(*this); }

    void finished() noexcept override {
        result<T> outcome;
        task_.finish(outcome);
        end_with(std::move(outcome));
    }
    void end_cancelled() noexcept override {
        task_.destroy();
        result<T> outcome;
        outcome.fail(std::make_exception_ptr(operation_cancelled()));
        end_with(std::move(outcome));
    }

    void end_with(result<T>&& outcome) noexcept {
        const bool wanted = end();
        if (!static_cast<worker_loop&>(*loop).may_return(*call)) return;  // nor may the promise break: it is left
        if (wanted) fulfil(outcome);
        outcome.clear();
        call->published.store(true, std::memory_order_release);  // pairs with task_future::settle()
        const unseen_by_thread_sanitizer freeing;
        delete this;
    }

    void fulfil(result<T>& outcome) noexcept {
        const unseen_by_thread_sanitizer last_reference_to_the_exception;
        try {
            if (!outcome) {
                set_exception(std::move(outcome).error());
            } else if constexpr (std::is_void_v<T>) {
                promise_.set_value();
            } else {
                promise_.set_value(std::move(outcome).value());
            }
        } catch (...) {
            set_exception(std::current_exception());
        }
    }
    void set_exception(std::exception_ptr error) noexcept override {
        if (call->fate_shared.exchange(true, std::memory_order_acq_rel)) {  // pairs with ~task_future
            static_cast<worker_loop&>(*loop).report_unobserved(error);
        } else {
            promise_.set_exception(std::move(error));
        }
    }

    outermost<T> task_;
    std::promise<T> promise_;
};

}  // namespace sincpro::detail
