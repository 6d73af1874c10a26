#pragma once

// Which sanitizer this is built with, for the few tests that one of them makes impossible.

#if defined(__SANITIZE_THREAD__)
#define TESTS_WITH_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TESTS_WITH_THREAD_SANITIZER 1
#endif
#endif
#ifndef TESTS_WITH_THREAD_SANITIZER
#define TESTS_WITH_THREAD_SANITIZER 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TESTS_WITH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESTS_WITH_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef TESTS_WITH_ADDRESS_SANITIZER
#define TESTS_WITH_ADDRESS_SANITIZER 0
#endif

namespace support {

/// The child of a threaded process can hang or die in GCC's sanitizers, whatever the program does.
#if (TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER) && !defined(__clang__)
inline constexpr bool fork_is_testable = false;
#else
inline constexpr bool fork_is_testable = true;
#endif

}  // namespace support
