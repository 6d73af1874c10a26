#pragma once

#include "as_task.hpp"
#include "result.hpp"

#include <exception>
#include <type_traits>
#include <utility>

namespace sincpro {

namespace detail {

template <class T>
task<result<T>> capture(task<T> t) {
    result<T> outcome;
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(t);
            outcome.emplace();
        } else if constexpr (std::is_reference_v<T>) {
            outcome.emplace(std::addressof(co_await std::move(t)));
        } else {
            outcome.emplace(co_await std::move(t));
        }
    } catch (...) {
        outcome.fail(std::current_exception());
    }
    co_return outcome;
}

}  // namespace detail

/// Awaits `a` and gives what it ends with, value or exception, as data; never throws itself. In when_all this keeps one
/// failure from cancelling the others. (asyncio.gather(return_exceptions=True))
template <class A>
[[nodiscard]] auto as_result(A&& a) {
    return detail::capture(detail::as_task(std::forward<A>(a)));
}

}  // namespace sincpro
