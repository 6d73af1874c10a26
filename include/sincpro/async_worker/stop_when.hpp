#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/structured_operation.hpp"
#include "detail/loop/work.hpp"
#include "task.hpp"

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/loop/event_loop.hpp"
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// A request to stop that arrives on the loop's thread; what does not depend on the operand or on std::stop_token.
class stoppable_operation : public structured_operation {
protected:
    stoppable_operation() noexcept = default;
    ~stoppable_operation();

    /// Any thread, once.
    void request_stop() noexcept;
    /// The operand has ended, so this may end too, unless the loop still has the request to see.
    bool may_end() noexcept;

private:
    struct stop_request : work {
        explicit stop_request(stoppable_operation& o) noexcept : work(&stop_request::arrive), of(o) {}
        static void arrive(work& w) noexcept { static_cast<stop_request&>(w).of.request_arrived(); }
        stoppable_operation& of;
    };

    void request_arrived() noexcept;
    void all_ended() noexcept override {
        if (may_end()) complete();
    }
    /// No request comes any more when this returns; it waits for one that is on its way.
    virtual void unregister() noexcept = 0;

    stop_request request_{*this};
    std::atomic<bool> posted_{false};
    bool ended_ = false;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE stoppable_operation::~stoppable_operation() {
    if (!posted_.load(std::memory_order_acquire)) return;
    loop_->collect_posted();
    if (request_.is_linked()) request_.unlink();
}
SINCPRO_DETAIL_INLINE void stoppable_operation::request_stop() noexcept {
    posted_.store(true, std::memory_order_release);  // pairs with the acquire in may_end()
    loop_->post(request_);
}
SINCPRO_DETAIL_INLINE void stoppable_operation::request_arrived() noexcept {
    posted_.store(false, std::memory_order_relaxed);
    if (ended_) {
        complete();
    } else {
        stop_children();
    }
}
SINCPRO_DETAIL_INLINE bool stoppable_operation::may_end() noexcept {
    unregister();
    ended_ = true;
    return !posted_.load(std::memory_order_acquire);
}

#endif

#if defined(__cpp_lib_jthread)

template <class T>
class stop_when_operation final : public stoppable_operation {
public:
    stop_when_operation(task<T> t, std::stop_token token) : child_(std::move(t)), token_(std::move(token)) {}
    stop_when_operation(stop_when_operation&& other) noexcept
        : child_(std::move(other.child_)), token_(std::move(other.token_)) {}
    ~stop_when_operation() { callback_.reset(); }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return true;
        cancelled_ = token_.stop_requested();
        if (!cancelled_) {
            callback_.emplace(token_, on_stop{this});
            if (run_children() || !may_end()) return true;
        }
        return ready_at_once();
    }
    T await_resume() {
        throw_if_cancelled();
        return std::move(child_.outcome).value();
    }

private:
    struct on_stop {
        stop_when_operation* of;
        void operator()() const noexcept { of->request_stop(); }
    };
    void unregister() noexcept override { callback_.reset(); }
    child_job* child(std::size_t i) noexcept override { return i == 0 ? &child_ : nullptr; }

    detail::child<T> child_;
    std::stop_token token_;
    std::optional<std::stop_callback<on_stop>> callback_;
};

#endif

}  // namespace detail

#if defined(__cpp_lib_jthread)

/// Runs `a`, and cancels it when a stop is requested of `token`, on any thread; waits until it has ended, and gives what it
/// ends with. If the stop was requested before, `a` is not started and this throws operation_cancelled.
/// (stdexec::stop_when)
template <class A>
[[nodiscard]] auto stop_when(A&& a, std::stop_token token) {
    return detail::stop_when_operation<detail::task_result_t<A>>(detail::as_operand(std::forward<A>(a)),
                                                                 std::move(token));
}

#else

/// This standard library has no std::stop_token.
template <class A, class Token>
[[nodiscard]] auto stop_when(A&&, const Token&) {
    static_assert(std::is_void_v<Token>, "stop_when needs std::stop_token, which this standard library does not have");
    return detail::misused();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
