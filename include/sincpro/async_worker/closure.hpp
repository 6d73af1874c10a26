#pragma once

#include "config.hpp"

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace sincpro::detail {

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
inline constexpr bool dies_twice =
    !std::is_lvalue_reference_v<F> && !std::is_trivially_destructible_v<F> && is_closure<F>();
#else
template <class F>
inline constexpr bool dies_twice = false;
#endif

/// Refuses a temporary closure that a faulty compiler would destroy twice when it stands in a co_await expression.
template <class F>
constexpr void check_closure() {
    static_assert(!dies_twice<F>,
                  "name the lambda first or pass its values as arguments: this compiler would destroy it twice");
}

}  // namespace sincpro::detail
