#pragma once

// The one place that knows which Catch2 is there: 3, or the single header of 2.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_tostring.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>
#include <utility>

namespace support {

/// The matcher for a part of a string, which Catch2 3 renamed.
inline auto contains(std::string part) {
#if __has_include(<catch2/catch_test_macros.hpp>)
    return Catch::Matchers::ContainsSubstring(std::move(part));
#else
    return Catch::Matchers::Contains(std::move(part));
#endif
}

}  // namespace support
