#pragma once

#include "sanitizers.hpp"

namespace support {

// What must need no stack is done this often. Less under a sanitizer, which makes each of them several times dearer; a stack
// that grew would overflow all the sooner there.
inline constexpr bool sanitized = TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER;
inline constexpr int a_million = sanitized ? 100'000 : 1'000'000;
inline constexpr int a_hundred_thousand = sanitized ? 20'000 : 100'000;

}  // namespace support
