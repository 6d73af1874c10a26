#pragma once

#include "detail/base/config.hpp"

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

template <class A>
concept has_member_co_await = requires(A&& a) {
    std::forward<A>(a).operator co_await();
};
template <class A>
concept has_free_co_await = requires(A&& a) {
    operator co_await(std::forward<A>(a));
};

/// The awaiter that the compiler would take: from a member, from a free function, else the object itself.
template <class A>
decltype(auto) get_awaiter(A&& a) {
    if constexpr (has_member_co_await<A>) {
        return std::forward<A>(a).operator co_await();
    } else if constexpr (has_free_co_await<A>) {
        return operator co_await(std::forward<A>(a));
    } else {
        return std::forward<A>(a);
    }
}

template <class A>
using awaiter_t = decltype(detail::get_awaiter(std::declval<A>()));

/// Stands for the promise of whatever coroutine awaits: complete, so that a deduced `await_suspend` may inspect it.
struct unknown_promise {};

template <class T>
inline constexpr bool is_await_suspend_result = std::is_void_v<T> || std::is_same_v<T, bool>;
template <class Promise>
inline constexpr bool is_await_suspend_result<std::coroutine_handle<Promise>> = true;

template <class T>
concept awaiter = requires(T& a, std::coroutine_handle<unknown_promise> h) {
    {a.await_ready() ? 0 : 1};
    requires is_await_suspend_result<decltype(a.await_suspend(h))>;
    a.await_resume();
};

}  // namespace detail

/// What can be `co_await`ed, of this library or another, by a coroutine of any type.
template <class A>
concept awaitable = detail::awaiter<std::remove_reference_t<detail::awaiter_t<A>>>;

namespace detail {

template <class A>
using await_expression_t = decltype(std::declval<awaiter_t<A>&>().await_resume());

/// What the bridge returns for it: a T&& as a T, everything else as it is.
template <class A>
using await_result_t = std::conditional_t<std::is_lvalue_reference_v<await_expression_t<A>>, await_expression_t<A>,
                                          std::remove_cvref_t<await_expression_t<A>>>;

/// A callable without arguments that returns an awaitable.
template <class F>
concept awaitable_factory = std::invocable<F> && awaitable<std::invoke_result_t<F>> && !awaitable<F>;

}  // namespace detail

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
