#pragma once

#include "detail/base/config.hpp"
#include "detail/base/diagnostics.hpp"
#include "detail/base/intrusive_ptr.hpp"
#include "detail/bridge/blocking_pool.hpp"
#include "detail/coroutine/operation.hpp"
#include "errors.hpp"
#include "result.hpp"

#include <atomic>
#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/bridge/worker_thread.hpp"
#include "detail/coroutine/trampoline.hpp"
#include "detail/loop/event_loop.hpp"
#include "detail/loop/spin_then_yield.hpp"

#include <future>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// What a task that awaits a function and the thread that runs it share; what does not depend on the function.
class awaited_function : public blocking_function {
public:
    /// The function's thread, which the function may end (pthread_exit, pthread_cancel).
    SINCPRO_DETAIL_INLINE void call() final;

    // What follows is for the task, on the worker thread.

    bool has_returned() const noexcept { return stage_.load(std::memory_order_acquire) != stage::running; }
    void request_stop() noexcept { cancelled_.store(true, std::memory_order_release); }
    /// True if the task may go on without the function.
    bool abandon() noexcept;
    /// After a vain abandon(): the function has returned and is about to resume the task.
    void wait_until_posted() noexcept;

protected:
    awaited_function(operation& o, event_loop& l) noexcept : waiter_(o), loop_(l) {}

private:
    enum class stage : unsigned char { running, returned, posted, abandoned };

    /// Calls the function and destroys it, since it may refer to what the task owns.
    virtual void invoke() = 0;
    void has_ended() noexcept;

    operation& waiter_;
    event_loop& loop_;
    std::atomic<bool> cancelled_{false};
    std::atomic<stage> stage_{stage::running};
};

/// A function and its arguments, which it is called with once, as rvalues.
template <class F, class... Args>
struct blocking_call {
    using returned = std::invoke_result_t<F, Args...>;
    using value = std::conditional_t<std::is_lvalue_reference_v<returned>, returned, std::remove_cvref_t<returned>>;

    decltype(auto) operator()() { return std::apply(std::move(function), std::move(arguments)); }

    F function;
    std::tuple<Args...> arguments;
};

/// What a task gets from a function that has ended its thread instead of returning.
std::exception_ptr function_ended_thread() noexcept;

template <class Call>
class awaited_function_of final : public awaited_function {
public:
    awaited_function_of(operation& o, event_loop& l, Call&& c) : awaited_function(o, l), call_(std::move(c)) {}

    result<typename Call::value> outcome;

private:
    void invoke() override {
        struct destroyed_at_the_end {
            ~destroyed_at_the_end() { call.reset(); }
            std::optional<Call>& call;
        } const scope{call_};
        try {
            if constexpr (std::is_void_v<typename Call::value>) {
                (*call_)();
                result_access::set_value(outcome);
            } else if constexpr (std::is_reference_v<typename Call::value>) {
                result_access::set_value(outcome, std::addressof((*call_)()));
            } else {
                result_access::set_value(outcome, (*call_)());
            }
        } catch (...) {
            const std::exception_ptr error = std::current_exception();
            result_access::set_exception(outcome, error ? error : function_ended_thread());
            if (!error) throw;  // the thread is being ended, which nothing may stop
        }
    }

    std::optional<Call> call_;
};

/// What does not depend on the function.
class blocking_operation : public operation {
public:
    bool await_ready() const noexcept { return false; }
    SINCPRO_DETAIL_INLINE void cancel(cancel_list&) noexcept final;

protected:
    explicit blocking_operation(bool abandons) noexcept : abandons_(abandons) {}
    blocking_operation(const blocking_operation&) noexcept = default;
    ~blocking_operation();

    /// Hands the function to a thread, for a task that waits for it.
    void start(intrusive_ptr<awaited_function> f);
    /// It was not started. Through the queue: who tries again until there is a thread starves nobody.
    void end_with_current_exception() noexcept;
    void check() const;

    intrusive_ptr<awaited_function> function_;
    bool late_ = false;  // cancelled before the function had returned

private:
    bool abandons_;
    std::exception_ptr not_started_;
};

template <class Call>
class to_thread_operation final : public blocking_operation {
    using function = awaited_function_of<Call>;

public:
    to_thread_operation(bool abandons, Call&& c) : blocking_operation(abandons), call_(std::move(c)) {}
    to_thread_operation(to_thread_operation&& other) : blocking_operation(other), call_(std::move(other.call_)) {}

    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return;
        try {
            start(intrusive_ptr<awaited_function>(new function(*this, *loop_, std::move(call_))));
        } catch (...) {
            end_with_current_exception();
        }
    }
    typename Call::value await_resume() {
        check();
        auto& outcome = static_cast<function&>(*function_).outcome;
        if (late_ && outcome) result_access::set_exception(outcome, exception_of<operation_cancelled>());
        return result_access::take(outcome);  // here: the pool may release the function later than the task ends
    }

private:
    Call call_;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE void awaited_function::call() {
    struct ended_in_any_way {
        ~ended_in_any_way() { function.has_ended(); }
        awaited_function& function;
    } const scope{*this};
    this_thread().function_cancelled = &cancelled_;
    invoke();
}

SINCPRO_DETAIL_INLINE void awaited_function::has_ended() noexcept {
    this_thread().function_cancelled = nullptr;
    stage running = stage::running;
    if (!stage_.compare_exchange_strong(running, stage::returned, std::memory_order_acq_rel)) return;
    loop_.post(waiter_);
    stage_.store(stage::posted, std::memory_order_release);
    stage_.notify_all();
}

SINCPRO_DETAIL_INLINE bool awaited_function::abandon() noexcept {
    stage running = stage::running;
    return stage_.compare_exchange_strong(running, stage::abandoned, std::memory_order_acq_rel);
}

SINCPRO_DETAIL_INLINE void awaited_function::wait_until_posted() noexcept {
    if (spin_then_yield([this] { return stage_.load(std::memory_order_acquire) == stage::posted; })) return;
    stage_.wait(stage::returned, std::memory_order_acquire);
}

// The task is destroyed while it waits: the base takes what the function has posted out of the queue.
SINCPRO_DETAIL_INLINE blocking_operation::~blocking_operation() {
    if (is_in_job() && function_ && !function_->abandon()) function_->wait_until_posted();
}

SINCPRO_DETAIL_INLINE void blocking_operation::start(intrusive_ptr<awaited_function> f) {
    function_ = std::move(f);
    late_ = false;
    not_started_ = nullptr;
    worker_thread::of(*loop_).pool().run(function_);
}

SINCPRO_DETAIL_COLD void blocking_operation::end_with_current_exception() noexcept {
    function_ = {};
    not_started_ = std::current_exception();
    complete();
}

SINCPRO_DETAIL_INLINE void blocking_operation::check() const {
    throw_if_cancelled();
    if (not_started_) std::rethrow_exception(not_started_);
}

SINCPRO_DETAIL_COLD std::exception_ptr function_ended_thread() noexcept {
    return exception_of<std::future_error>(std::future_errc::broken_promise);
}

SINCPRO_DETAIL_INLINE void blocking_operation::cancel(cancel_list&) noexcept {
    if (function_->has_returned()) return;
    late_ = true;
    function_->request_stop();
    if (abandons_ && function_->abandon()) complete_cancelled();
}

#endif

template <class F, class... Args>
auto make_to_thread(bool abandons, F&& f, Args&&... args) {
    check_temporaries<F, Args...>();
    static_assert(
        std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
        "to_thread(f, args...): f cannot be called with these arguments, which are copied: std::ref for a T&");
    if constexpr (std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>) {
        static_assert(
            !is_task<std::invoke_result_t<std::decay_t<F>, std::decay_t<Args>...>>,
            "to_thread(f, args...): f is a coroutine, which runs when it is awaited: write co_await f(args...)");
        using call = blocking_call<std::decay_t<F>, std::decay_t<Args>...>;
        return to_thread_operation<call>(abandons, call{std::forward<F>(f), {std::forward<Args>(args)...}});
    } else {
        return misused::instead<F>();
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
/// Every function that runs has a thread of its own, which it may end (pthread_exit): then the task gets
/// std::future_error(broken_promise). Bound their number with a semaphore. Throws std::system_error if the
/// system has no more threads.
template <class F, class... Args>
[[nodiscard]] auto to_thread(F&& f, Args&&... args) {
    return detail::make_to_thread(false, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same, but a cancelled task goes on at once. `f` then finishes by itself, owns all that it uses, and what it returns
/// or throws is dropped.
template <class F, class... Args>
[[nodiscard]] auto to_thread(abandon_on_cancel_t, F&& f, Args&&... args) {
    return detail::make_to_thread(true, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
