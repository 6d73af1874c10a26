#pragma once

#include "config.hpp"

#include <concepts>
#include <coroutine>
#include <type_traits>

#if SINCPRO_DETAIL_CLOSURES_DIE_TWICE
#include <string_view>
#endif

// What makes the compiler say in one sentence what is wrong and what to write instead.

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

template <class T>
class task;

namespace detail {

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class T>
inline constexpr bool is_task_list = false;
template <template <class, class> class Container, class T, class Allocator>
inline constexpr bool is_task_list<Container<task<T>, Allocator>> = true;

/// A std::future and its kin.
template <class T>
concept future = requires(T& f) {
    f.wait();
    f.get();
};

/// A coroutine or sender of another library, such as asio::awaitable, that knows only what that library runs.
template <class T>
concept run_by_its_library = requires {
    typename std::coroutine_traits<T>::promise_type;
}
|| requires { typename T::promise_type; }
|| requires { typename T::sender_concept; }
|| requires { typename T::completion_signatures; };
/// What there is to say of a callable is that of its result.
template <class T>
struct what_it_gives {
    using type = T;
};
template <std::invocable T>
struct what_it_gives<T> {
    using type = std::remove_cvref_t<std::invoke_result_t<T>>;
};

/// Says what to write instead of awaiting a T that cannot be awaited. False if there is no more to say of it.
template <class T>
consteval bool advise() {
    constexpr bool run_elsewhere = run_by_its_library<typename what_it_gives<T>::type>;
    static_assert(!run_elsewhere,
                  "only its own library can run this: begin it by that library's means, such as co_spawn, in "
                  "await_callback, and call the completion when it ends");
    static_assert(!is_task_list<T>, "many tasks are awaited as one: when_all(std::move(tasks))");
    static_assert(!future<T>,
                  "a future blocks: await the task itself, or to_thread([](auto f) { return f.get(); }, "
                  "std::move(future))");
    return run_elsewhere || is_task_list<T> || future<T>;
}

/// What `co_await` gives after a static_assert has said what is wrong, so that nothing else is said.
struct misused {
    struct anything {
        template <class T>
        operator T&&() const;
    };
    bool await_ready() const;
    void await_suspend(std::coroutine_handle<>) const;
    anything await_resume() const;
    template <class = void>
    static task<anything> instead();
};

#if SINCPRO_DETAIL_CLOSURES_DIE_TWICE
template <class F>
consteval bool is_closure() {
    constexpr std::string_view name = __PRETTY_FUNCTION__;  // "... [with F = f()::<lambda(int)>]"
    for (std::size_t begin = name.find("<lambda("); begin != name.npos; begin = name.find("<lambda(", begin + 1)) {
        std::size_t end = begin;
        for (int open = 0; open += (name[end] == '<') - (name[end] == '>'), open != 0;) ++end;
        if (name.substr(end) == ">]" || name.substr(end) == "> mutable]") return true;
    }
    return false;
}
template <class F>
inline constexpr bool dies_twice = !std::is_lvalue_reference_v<F> && !std::is_trivially_destructible_v<F> &&
                                   (is_closure<F>() || std::is_aggregate_v<F>);
#else
template <class F>
inline constexpr bool dies_twice = false;
#endif

/// Refuses temporaries that a faulty compiler would destroy twice when they stand in a co_await expression: closures and
/// aggregates. What was named and moved looks the same.
template <class... F>
constexpr void check_temporaries() {
    static_assert((!dies_twice<F> && ...),
                  "this compiler would destroy a temporary lambda or aggregate twice: name it and pass the name, or "
                  "std::ref(name) if it cannot be copied");
}

}  // namespace detail

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
