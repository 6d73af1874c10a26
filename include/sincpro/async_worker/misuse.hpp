#pragma once

#include <coroutine>
#include <vector>

namespace sincpro {

template <class T>
class task;

namespace detail {

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

template <class T>
inline constexpr bool is_task_list = false;
template <class T>
inline constexpr bool is_task_list<std::vector<task<T>>> = true;

/// A std::future and its kin.
template <class T>
concept future = requires(T& f) {
    f.wait();
    f.get();
};

/// What to write instead of awaiting a T that cannot be awaited. False if there is no more to say of it.
template <class T>
consteval bool advise() {
    static_assert(!is_task_list<T>, "many tasks are awaited as one: when_all(std::move(tasks))");
    static_assert(!future<T>,
                  "a future blocks: await the task itself, or to_thread([](auto f) { return f.get(); }, "
                  "std::move(future))");
    return is_task_list<T> || future<T>;
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
    static task<anything> instead();
};

}  // namespace detail

}  // namespace sincpro
