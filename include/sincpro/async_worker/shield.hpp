#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/structured_operation.hpp"
#include "task.hpp"

#include <coroutine>
#include <cstddef>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

template <class T>
class shield_operation final : public structured_operation {
public:
    explicit shield_operation(task<T> t) : child_(std::move(t)) {}

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        attach(h);  // not begin(): it runs in a cancelled task too
        enter_job();
        if (job_->has_ignored_cancel_before()) {
            complete_cancelled();
            return true;
        }
        child_.shielded = true;
        return wait_for_children();
    }
    T await_resume() {
        throw_if_cancelled();
        return std::move(child_.outcome).value();
    }

    void cancel(cancel_list&) noexcept override {}

private:
    child_job* child(std::size_t i) noexcept override { return i == 0 ? &child_ : nullptr; }

    detail::child<T> child_;
};

}  // namespace detail

/// Runs `a` as if the task were not cancelled, also when it is already: for clean-up that awaits. The task waits for it;
/// cancellation shows again in the next operation. Bound it with with_timeout inside. (anyio.CancelScope(shield=True))
template <class A>
[[nodiscard]] auto shield(A&& a) {
    return detail::shield_operation<detail::task_result_t<A>>(detail::as_operand(std::forward<A>(a)));
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
