#pragma once

#include "detail/base/config.hpp"

#include <exception>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

struct result_access;

/// How a T is kept: a reference as a pointer, void as nothing.
template <class T>
using stored_t =
    std::conditional_t<std::is_void_v<T>, std::monostate,
                       std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, std::remove_const_t<T>>>;

}  // namespace detail

/// What an awaitable ended with, as data: a value or an exception. T may be void or a reference. Movable if T is.
template <class T>
class [[nodiscard]] result {
    using stored = detail::stored_t<T>;

public:
    /// Neither value nor exception.
    result() noexcept {}
    /// `other` keeps what is left of its value or exception.
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) { take(std::move(other)); }
    /// What was here is destroyed; `other` as by the constructor.
    result& operator=(result&& other) noexcept(std::is_nothrow_move_constructible_v<stored>) {
        if (this != &other) {
            clear();
            take(std::move(other));
        }
        return *this;
    }
    ~result() { clear(); }

    /// True if there is a value.
    explicit operator bool() const noexcept { return state_ == state::value; }

    /// The value; rethrows the exception if there is one instead. Throws std::logic_error if there is neither.
    std::add_lvalue_reference_t<T> value() & {
        check();
        if constexpr (std::is_reference_v<T>) {
            return *value_;
        } else if constexpr (!std::is_void_v<T>) {
            return value_;
        }
    }
    /// As above.
    std::add_lvalue_reference_t<const T> value() const& {
        check();
        if constexpr (std::is_reference_v<T>) {
            return *value_;
        } else if constexpr (!std::is_void_v<T>) {
            return value_;
        }
    }
    /// As above, moved out.
    T value() && {
        check();
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*value_);
        } else if constexpr (!std::is_void_v<T>) {
            return std::move(value_);
        }
    }

    /// The exception, or null if there is a value.
    std::exception_ptr error() const& noexcept { return state_ == state::error ? error_ : nullptr; }
    /// As above, moved out.
    std::exception_ptr error() && noexcept { return state_ == state::error ? std::move(error_) : nullptr; }

private:
    friend detail::result_access;
    enum class state : unsigned char { empty, value, error };

    void check() const;
    void clear() noexcept {
        if (state_ == state::value) std::destroy_at(std::addressof(value_));
        if (state_ == state::error) std::destroy_at(std::addressof(error_));
        state_ = state::empty;
    }
    void take(result&& other) {
        if (other.state_ == state::value) std::construct_at(std::addressof(value_), std::move(other.value_));
        if (other.state_ == state::error) std::construct_at(std::addressof(error_), std::move(other.error_));
        state_ = other.state_;
    }

    union {
        stored value_;
        std::exception_ptr error_;
    };
    state state_ = state::empty;
};

namespace detail {

/// Fills results. What was there before is destroyed: a coroutine may return twice, if a destructor throws at the first.
struct result_access {
    template <class T, class... Args>
    static void set_value(result<T>& r, Args&&... args) {
        r.clear();
        std::construct_at(std::addressof(r.value_), std::forward<Args>(args)...);
        r.state_ = result<T>::state::value;
    }
    template <class T>
    static void set_exception(result<T>& r, std::exception_ptr error) noexcept {
        r.clear();
        std::construct_at(std::addressof(r.error_), error ? std::move(error) : missing());
        r.state_ = result<T>::state::error;
    }
    template <class T>
    static void clear(result<T>& r) noexcept {
        r.clear();
    }
    /// Moves the value out, or throws; nothing of it is left, though others may keep `r`.
    template <class T>
    static T take(result<T>& r) {
        struct clear_at_the_end {
            ~clear_at_the_end() { of.clear(); }
            result<T>& of;
        } const scope{r};
        return std::move(r).value();
    }

    /// The std::logic_error that stands for a result that is not there.
    static std::exception_ptr missing() noexcept;
    [[noreturn]] static void throw_error(const std::exception_ptr& error);
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_COLD std::exception_ptr result_access::missing() noexcept {
    return std::make_exception_ptr(
        std::logic_error("sincpro: there is no result; a coroutine that has one must end in co_return"));
}
SINCPRO_DETAIL_COLD void result_access::throw_error(const std::exception_ptr& error) {
    std::rethrow_exception(error ? error : missing());
}

#endif

}  // namespace detail

template <class T>
void result<T>::check() const {
    if (state_ != state::value) detail::result_access::throw_error(state_ == state::error ? error_ : nullptr);
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
