#pragma once

#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/trampoline.hpp"
#include "errors.hpp"
#include "result.hpp"
#include "task.hpp"

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

template <class T>
task<result<T>> capture(task<T> t) {
    result<T> outcome;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(t);
            result_access::set_value(outcome);
        } else if constexpr (std::is_reference_v<T>) {
            result_access::set_value(outcome, std::addressof(co_await std::move(t)));
        } else {
            result_access::set_value(outcome, co_await std::move(t));
        }
    } catch (const operation_cancelled&) {
        // What ends the task that awaits this is no result of its operand.
        if (is_running_job_cancelled()) throw;
        result_access::set_exception(outcome, std::current_exception());
    } catch (...) {
        result_access::set_exception(outcome, std::current_exception());
    }
    co_return outcome;
}

}  // namespace detail

/// Awaits `a` and gives what it ends with, value or exception, as data. Throws only operation_cancelled, when the task itself
/// was cancelled. In when_all this keeps one failure from cancelling the others. (asyncio.gather(return_exceptions=True))
template <class A>
[[nodiscard]] auto as_result(A&& a) {
    return detail::capture(detail::as_operand(std::forward<A>(a)));
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
