#pragma once

#include "awaitable.hpp"
#include "cancellation.hpp"
#include "closure.hpp"
#include "completion.hpp"
#include "task.hpp"

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

namespace sincpro {

namespace detail {

template <class T, class Initiate>
class callback_operation final : public operation {
public:
    explicit callback_operation(Initiate i) : initiate_(std::move(i)) {}
    callback_operation(const callback_operation& other) requires std::copy_constructible<Initiate>
        : operation(other), initiate_(other.initiate_) {}
    callback_operation(callback_operation&& other) : operation(other), initiate_(std::move(other.initiate_)) {}
    ~callback_operation() {
        if (state_ == nullptr) return;
        if (linked_) state_->leave();
        state_->drop_state();
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h);
    T await_resume() {
        throw_if_cancelled();
        return state_->take();
    }
    void cancel(cancel_list&) noexcept override {
        if (state_->cancel()) complete_cancelled();
    }

private:
    Initiate initiate_;
    callback_state<T>* state_ = nullptr;
};

}  // namespace detail

template <class T, class Initiate>
template <class Promise>
bool detail::callback_operation<T, Initiate>::await_suspend(std::coroutine_handle<Promise> h) {
    if (!begin(h)) return true;
    if (state_ != nullptr) std::exchange(state_, nullptr)->drop_state();  // it is awaited again
    try {
        state_ = new callback_state<T>;
        std::move(initiate_)(completion<T>(*state_));
    } catch (...) {
        if (state_ != nullptr) state_->leave();
        unlink();
        throw;
    }
    if (state_->wait(*this, *job_)) return true;
    unlink();
    return false;
}

/// Awaits a callback of another library. `initiate(completion<T>)` is called once on the worker thread; it begins the
/// operation and sees to it that the completion is called, now, later or on another thread. The task goes on with the value
/// on the worker thread. What `initiate` throws is thrown by the `co_await`.
///
/// `initiate` lives until the task goes on. A cancelled task goes on at once, unless completion::on_cancel was set: what
/// the other library still writes to must not be in the task's frame then. (asyncio.Future, asio::async_initiate)
template <class T = void, class Initiate>
[[nodiscard]] auto await_callback(Initiate&& initiate) {
    detail::check_closure<Initiate>();
    static_assert(std::is_invocable_v<std::decay_t<Initiate>, completion<T>>,
                  "await_callback<T>(initiate): initiate must be callable with a completion<T>");
    if constexpr (std::is_invocable_v<std::decay_t<Initiate>, completion<T>>) {
        return detail::callback_operation<T, std::decay_t<Initiate>>(std::forward<Initiate>(initiate));
    } else {
        return detail::misused::instead();
    }
}

}  // namespace sincpro
