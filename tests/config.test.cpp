#include <sincpro/async_worker/detail/base/config.hpp>

#include <type_traits>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

// Usable where only the preprocessor is, as by a program that needs a certain version.
#if SINCPRO_ASYNC_WORKER_VERSION < 10000
#error "version 1.0.0 is the first one"
#endif

TEST_CASE("the version is one number, made of three") {
    CHECK(SINCPRO_ASYNC_WORKER_VERSION / 10000 == SINCPRO_ASYNC_WORKER_VERSION_MAJOR);
    CHECK(SINCPRO_ASYNC_WORKER_VERSION / 100 % 100 == SINCPRO_ASYNC_WORKER_VERSION_MINOR);
    CHECK(SINCPRO_ASYNC_WORKER_VERSION % 100 == SINCPRO_ASYNC_WORKER_VERSION_PATCH);
}

TEST_CASE("the sanitizers are recognized") {
    CHECK(SINCPRO_DETAIL_ASAN == TESTS_WITH_ADDRESS_SANITIZER);
    CHECK(SINCPRO_DETAIL_TSAN == TESTS_WITH_THREAD_SANITIZER);
}

TEST_CASE("what ThreadSanitizer shall not see is a scope") {
    using sincpro::detail::tsan_ignore_scope;
    STATIC_REQUIRE(!std::is_copy_constructible_v<tsan_ignore_scope>);
    STATIC_REQUIRE(!std::is_copy_assignable_v<tsan_ignore_scope>);
    // Nested and one after the other: the annotations have to be balanced.
    for (int i = 0; i < 3; ++i) {
        const tsan_ignore_scope outer;
        const tsan_ignore_scope inner;
    }
}
