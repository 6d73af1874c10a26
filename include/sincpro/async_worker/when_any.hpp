#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/structured_operation.hpp"
#include "errors.hpp"
#include "task.hpp"

#include <cstddef>
#include <exception>
#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// What both forms of when_any have in common.
class when_any_operation : public structured_operation {
protected:
    child_job* first_ = nullptr;

private:
    void child_ended(child_job& c) noexcept final {
        if (first_ == nullptr) {
            first_ = &c;
            stop_children();
        } else if (const std::exception_ptr error = c.error()) {
            // What went wrong, also in a clean-up, and not what ended because of a cancellation.
            const std::exception_ptr first = first_->error();
            if (first && !is_cancellation(error) && is_cancellation(first)) first_ = &c;
        }
    }
};

template <class... T>
class when_any_variant final : public when_any_operation {
public:
    explicit when_any_variant(task<T>... tasks) : children_(std::move(tasks)...) {}

    std::variant<element_t<T>...> await_resume() {
        throw_if_cancelled();
        return take<0>();
    }

private:
    template <std::size_t I>
    std::variant<element_t<T>...> take() {
        auto& c = std::get<I>(children_.all());
        if constexpr (I + 1 < sizeof...(T)) {
            if (&c != first_) return take<I + 1>();
        }
        return std::variant<element_t<T>...>(std::in_place_index<I>, take_element(c.outcome));
    }
    child_job* child(std::size_t i) noexcept override { return children_[i]; }

    child_tuple<T...> children_;
};

template <class T>
class when_any_vector final : public when_any_operation {
public:
    explicit when_any_vector(std::vector<task<T>> tasks) {
        if (tasks.empty()) throw std::invalid_argument("sincpro: when_any of an empty vector would never end");
        children_.reserve(tasks.size());
        for (task<T>& t : tasks) children_.emplace_back(std::move(t));
    }

    std::pair<std::size_t, element_t<T>> await_resume() {
        throw_if_cancelled();
        if (first_ == nullptr) throw_awaited_before();
        auto& c = static_cast<detail::child<T>&>(*first_);
        const auto index = static_cast<std::size_t>(&c - children_.data());
        return std::pair<std::size_t, element_t<T>>(index, take_element(c.outcome));
    }

private:
    child_job* child(std::size_t i) noexcept override { return i < children_.size() ? &children_[i] : nullptr; }

    std::vector<detail::child<T>> children_;
};

}  // namespace detail

/// Runs all of `a...` at once; the first that ends, with a value or an exception, is the result. The others are cancelled,
/// and this waits until they have ended too; what they end with is dropped, unless the first was an operation_cancelled and
/// another one is a failure. (trio: a nursery that is cancelled)
///
/// Gives a std::variant with one alternative for each argument, in their order; void as std::monostate.
template <class... A>
    requires(sizeof...(A) > 0)
[[nodiscard]] auto when_any(A&&... a) {
    return detail::when_any_variant<detail::task_result_t<A>...>(detail::as_operand(std::forward<A>(a))...);
}

/// The same for any number of tasks of one kind: index and value of the first. Throws std::invalid_argument for none.
template <class T>
[[nodiscard]] auto when_any(std::vector<task<T>>&& tasks) {
    return detail::when_any_vector<T>(std::move(tasks));
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
