#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "detail/coroutine/structured_operation.hpp"
#include "errors.hpp"
#include "task.hpp"

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

/// What the tuple and the vector form of when_all have in common.
class when_all_operation : public structured_operation {
protected:
    /// Throws what ended the whole, if anything did; else every child has a value.
    void check() const {
        throw_if_cancelled();
        if (first_error_) std::rethrow_exception(first_error_);
    }

private:
    void child_ended(child_job& c) noexcept final {
        if (failed_) return;
        std::exception_ptr error = c.error();
        if (!error) return;
        // What went wrong, also in a clean-up, and not what ended because of a cancellation.
        failed_ = !is_cancellation(error);
        if (first_error_ && !failed_) return;
        first_error_ = std::move(error);
        stop_children();
    }

    std::exception_ptr first_error_;
    bool failed_ = false;
};

template <class... T>
class when_all_tuple final : public when_all_operation {
public:
    explicit when_all_tuple(task<T>... tasks) : children_(std::move(tasks)...) {}

    std::tuple<tuple_element_t<T>...> await_resume() {
        check();
        return std::apply(
            [](detail::child<T>&... c) { return std::tuple<tuple_element_t<T>...>(take_element<T>(c.outcome)...); },
            children_.all());
    }

private:
    child_job* child(std::size_t i) noexcept override { return children_[i]; }

    child_tuple<T...> children_;
};

template <class T>
class when_all_vector final : public when_all_operation {
public:
    explicit when_all_vector(std::vector<task<T>> tasks) {
        children_.reserve(tasks.size());
        for (task<T>& t : tasks) children_.emplace_back(std::move(t));
    }

    auto await_resume() {
        check();
        if constexpr (!std::is_void_v<T>) {
            std::vector<element_t<T>> values;
            values.reserve(children_.size());
            for (auto& c : children_) values.push_back(std::move(c.outcome).value());
            return values;
        }
    }

private:
    child_job* child(std::size_t i) noexcept override { return i < children_.size() ? &children_[i] : nullptr; }

    std::vector<detail::child<T>> children_;
};

}  // namespace detail

/// Runs all of `a...` at once, each as a flow of its own, and waits for all. (asyncio.TaskGroup, trio.Nursery)
///
/// Gives their results in argument order, void as std::monostate. The first exception cancels the others; when all have
/// ended it is rethrown, or another one that is no operation_cancelled in place of one that is. What is awaited is owned by the result of this call.
template <class... A>
[[nodiscard]] auto when_all(A&&... a) {
    return detail::when_all_tuple<detail::task_result_t<A>...>(detail::as_operand(std::forward<A>(a))...);
}

/// The same for any number of tasks of one kind: a std::vector of their results, nothing for void.
template <class T>
[[nodiscard]] auto when_all(std::vector<task<T>>&& tasks) {
    return detail::when_all_vector<T>(std::move(tasks));
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
