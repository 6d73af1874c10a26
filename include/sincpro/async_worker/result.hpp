#pragma once

#include <cassert>
#include <exception>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

namespace sincpro {

namespace detail {

inline constexpr const char* no_result = "sincpro: there is no result; a coroutine that has one must end in co_return";

/// How a T is kept: a reference as a pointer, void as nothing.
template <class T>
using stored_t = std::conditional_t<std::is_void_v<T>, std::monostate,
                                    std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

}  // namespace detail

/// What an awaitable ended with, as data: a value or an exception. T may be void or a reference. Movable if T is.
template <class T>
class [[nodiscard]] result {
    using stored = detail::stored_t<T>;

public:
    result() noexcept {}  ///< Empty until emplace() or fail().
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

    /// The value; rethrows the exception if there is one instead.
    decltype(auto) value() & { return get(*this); }
    decltype(auto) value() const& { return get(*this); }  ///< As above.
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

    /// Makes the value of an empty result, in place.
    template <class... Args>
    void emplace(Args&&... args) {
        assert(state_ == state::empty);
        std::construct_at(std::addressof(value_), std::forward<Args>(args)...);
        state_ = state::value;
    }
    /// Empty again.
    void clear() noexcept {
        if (state_ == state::value) std::destroy_at(std::addressof(value_));
        if (state_ == state::error) std::destroy_at(std::addressof(error_));
        state_ = state::empty;
    }
    /// Holds `error` from now on, whatever was here.
    void fail(std::exception_ptr error) noexcept {
        clear();
        std::construct_at(std::addressof(error_), std::move(error));
        state_ = state::error;
    }

private:
    enum class state : unsigned char { empty, value, error };

    template <class Self>
    static decltype(auto) get(Self& self) {
        self.check();
        if constexpr (std::is_reference_v<T>) {
            return static_cast<T>(*self.value_);
        } else if constexpr (!std::is_void_v<T>) {
            return (self.value_);
        }
    }
    void check() const {
        if (state_ == state::value) return;
        if (state_ == state::error) std::rethrow_exception(error_);
        throw std::logic_error(detail::no_result);
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

/// Moves the value out, or throws; nothing of it is left, though others may keep `outcome`.
template <class T>
T take_out(result<T>& outcome) {
    struct cleared {
        ~cleared() { of.clear(); }
        result<T>& of;
    } const at_the_end{outcome};
    return std::move(outcome).value();
}

}  // namespace detail

}  // namespace sincpro
