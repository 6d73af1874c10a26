#pragma once

#include "closure.hpp"
#include "errors.hpp"
#include "event_loop.hpp"
#include "helper_threads.hpp"
#include "result.hpp"
#include "task.hpp"

#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sincpro {

namespace detail {

/// What a task that awaits a function and the thread that runs it share.
template <class F, class... Args>
class awaited_function final : public thread_function {
    using returned = std::invoke_result_t<F, Args...>;

public:
    using value = std::conditional_t<std::is_lvalue_reference_v<returned>, returned, std::remove_cvref_t<returned>>;

    template <class... A>
    explicit awaited_function(operation& o, executor& e, A&&... a)
        : waiter_(o), executor_(e), call_(std::in_place, std::forward<A>(a)...) {}

    void call() noexcept override {
        thread_state& thread = current();
        thread.function_cancelled = &cancelled_;
        try {
            if constexpr (std::is_void_v<value>) {
                std::apply([](auto&&... a) { std::invoke(std::move(a)...); }, *call_);
                outcome.emplace();
            } else if constexpr (std::is_reference_v<value>) {
                std::apply([this](auto&... a) { outcome.emplace(std::addressof(std::invoke(std::move(a)...))); },
                           *call_);
            } else {
                std::apply([this](auto&... a) { outcome.emplace(std::invoke(std::move(a)...)); }, *call_);
            }
        } catch (...) {
            outcome.fail(std::current_exception());
        }
        call_.reset();  // it may refer to what the task owns
        thread.function_cancelled = nullptr;
        if (!passed_.exchange(true, std::memory_order_acq_rel)) executor_.post(waiter_);  // pairs with abandon()
    }

    bool has_returned() const noexcept { return passed_.load(std::memory_order_acquire); }
    void request_stop() noexcept { cancelled_.store(true, std::memory_order_release); }
    /// True if the task may go on without it.
    bool abandon() noexcept { return !passed_.exchange(true, std::memory_order_acq_rel); }

    result<value> outcome;

private:
    operation& waiter_;
    executor& executor_;
    std::atomic<bool> cancelled_{false};
    std::atomic<bool> passed_{false};  // by one of {the function has returned, the task has gone on}
    std::optional<std::tuple<F, Args...>> call_;
};

template <bool Abandon, class F, class... Args>
class to_thread_operation final : public operation {
    using function = awaited_function<F, Args...>;

public:
    template <class... A>
    explicit to_thread_operation(std::in_place_t, A&&... a) : call_(std::forward<A>(a)...) {}
    to_thread_operation(to_thread_operation&& other) : operation(other), call_(std::move(other.call_)) {}
    to_thread_operation(const to_thread_operation& other) requires std::copy_constructible<std::tuple<F, Args...>>
        : operation(other), call_(other.call_) {}
    ~to_thread_operation() {
        if (!linked_ || function_ == nullptr || function_->abandon()) return;
        while (!queued()) {  // it is about to be posted
            loop_->collect();
            std::this_thread::yield();
        }
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return;
        try {
            event_loop& loop = event_loop::of(*job_);
            if (loop.service == nullptr) loop.service = std::make_unique<helper_threads>(loop);
            function_ =
                std::apply([&](auto&... a) { return std::make_shared<function>(*this, loop, std::move(a)...); }, call_);
            static_cast<helper_threads&>(*loop.service).run(function_);
        } catch (...) {
            unlink();
            throw;
        }
    }
    typename function::value await_resume() {
        throw_if_cancelled();
        auto& outcome = function_->outcome;
        if (late_ && outcome) outcome.fail(exception_of<operation_cancelled>());
        return take_out(outcome);  // here: the helper thread may let go of the function later than the task ends
    }

    void cancel(cancel_list&) noexcept override {
        if (function_->has_returned()) return;
        late_ = true;
        function_->request_stop();
        if (Abandon && function_->abandon()) complete_cancelled();
    }

private:
    std::tuple<F, Args...> call_;
    std::shared_ptr<function> function_;
    bool late_ = false;  // cancelled before the function had returned
};

template <bool Abandon, class F, class... Args>
auto make_to_thread(F&& f, Args&&... args) {
    check_closure<F>();
    static_assert(
        std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
        "to_thread(f, args...): f cannot be called with these arguments, which are copied: std::ref for a T&");
    if constexpr (std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>) {
        static_assert(
            !is_task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
            "to_thread(f, args...): f is a coroutine, which runs when it is awaited: write co_await f(args...)");
        return to_thread_operation<Abandon, std::decay_t<F>, std::decay_t<Args>...>(std::in_place, std::forward<F>(f),
                                                                                    std::forward<Args>(args)...);
    } else {
        return misused::instead();
    }
}

}  // namespace detail

/// The type of abandon_on_cancel.
struct abandon_on_cancel_t {
    explicit abandon_on_cancel_t() = default;
};
/// The first argument of a to_thread() that a cancelled task does not wait for.
inline constexpr abandon_on_cancel_t abandon_on_cancel{};

/// Runs the blocking `f(args...)` on a helper thread, and goes on with its result on the worker thread. `f` and `args` are
/// copied or moved, as by std::thread, and destroyed when `f` has returned. (asyncio.to_thread)
///
/// A cancelled task waits until `f` has returned, which sees the request by cancellation_requested(), so `f` may use what
/// the task owns; then the task goes on with operation_cancelled, or with what `f` threw. `f` may call run_async_task.
/// Every function that runs has a thread of its own: bound their number with a semaphore. Throws std::system_error if the
/// system has no more threads.
template <class F, class... Args>
[[nodiscard]] auto to_thread(F&& f, Args&&... args) {
    return detail::make_to_thread<false>(std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same, but a cancelled task goes on at once. `f` then finishes by itself, owns all that it uses, and what it returns
/// or throws is dropped.
template <class F, class... Args>
[[nodiscard]] auto to_thread(abandon_on_cancel_t, F&& f, Args&&... args) {
    return detail::make_to_thread<true>(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace sincpro
