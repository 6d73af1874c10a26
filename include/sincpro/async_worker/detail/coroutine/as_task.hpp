#pragma once

#include "../../awaitable.hpp"
#include "../base/config.hpp"
#include "../base/diagnostics.hpp"
#include "task_promise.hpp"

#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// As an rvalue, unless it is for lvalues only.
template <class A>
using kept_awaitable_t = std::conditional_t<awaitable<A>, A, A&>;
template <class F>
using kept_factory_t = std::conditional_t<awaitable_factory<F>, F, F&>;

template <class A>
task<await_result_t<kept_awaitable_t<A>>> await_as_task(A a) {
    co_return co_await static_cast<kept_awaitable_t<A>&&>(a);
}

template <class F>
auto call_as_task(F f) -> task<await_result_t<std::invoke_result_t<kept_factory_t<F>>>> {
    co_return co_await static_cast<kept_factory_t<F>&&>(f)();
}

/// What the bridge and every structured operation take, as a task: an awaitable (moved, or copied if it is an lvalue), or a
/// callable without arguments that returns one, which is moved and called when the task begins, and lives as long.
template <class A>
auto as_task(A&& a) {
    using type = std::decay_t<A>;
    constexpr bool list = is_task_list<type> && std::is_lvalue_reference_v<A>;  // of when_all or when_any
    constexpr bool to_await = awaitable<type> || awaitable<type&>;
    constexpr bool fits = list || to_await || awaitable_factory<type> || awaitable_factory<type&>;
    constexpr bool once = !list && (!is_task<type> || std::is_same_v<A, type>);
    constexpr bool passes = !once || !fits || std::is_constructible_v<type, A>;
    static_assert(fits || advise<std::conditional_t<fits, void, type>>(),
                  "neither an awaitable nor a callable without arguments that returns one. A blocking function? "
                  "await to_thread(f) in a task");
    static_assert(once, "a task can be awaited once: pass std::move(x)");
    static_assert(passes || !std::is_lvalue_reference_v<A>, "this cannot be copied: pass std::move(x)");
    static_assert(passes || std::is_lvalue_reference_v<A>, "this cannot be moved: pass a callable that returns it");
    if constexpr (!fits || !once || !passes) {
        return misused::instead<type>();
    } else if constexpr (is_task<type>) {
        return type(std::move(a));
    } else if constexpr (to_await) {
        return await_as_task<type>(std::forward<A>(a));
    } else {
        return call_as_task<type>(std::forward<A>(a));
    }
}

/// The same for an operation, which may stand in a co_await expression.
template <class A>
auto as_operand(A&& a) {
    check_temporaries<A>();
    return detail::as_task(std::forward<A>(a));
}

/// The result of such an awaitable or callable.
template <class A>
using as_task_t = decltype(detail::as_task(std::declval<A>()));

template <class Task>
struct task_value;
template <class T>
struct task_value<task<T>> {
    using type = T;
};
template <class A>
using task_result_t = typename task_value<as_task_t<A>>::type;

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
