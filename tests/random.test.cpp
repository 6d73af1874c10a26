#include <sincpro/async_worker.hpp>

#if !defined(_WIN32)

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "random/program.hpp"
#include "support/catch.hpp"
#include "support/sanitizers.hpp"

namespace {

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text != nullptr ? std::stoull(text) : otherwise;
}

}  // namespace

// SINCPRO_RANDOM_PROGRAMS: how many; SINCPRO_RANDOM_SEED: of the first, the others follow. Each seed is one program.
TEST_CASE("random programs end with what the model allows, and leave nothing behind") {
    const bool slow = TESTS_WITH_THREAD_SANITIZER || TESTS_WITH_ADDRESS_SANITIZER;
    const std::uint64_t first = setting("SINCPRO_RANDOM_SEED", 1);
    const std::uint64_t programs = setting("SINCPRO_RANDOM_PROGRAMS", slow ? 1'000 : 5'000);
    random_programs::runner runner;
    random_programs::watchdog watchdog(runner);
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t seed = first; seed != first + programs; ++seed) {
        watchdog.next(seed);
        random_programs::choices from(seed);
        const std::string wrong = runner.run(from);
        if (!wrong.empty()) FAIL_CHECK("SINCPRO_RANDOM_SEED=" << seed << ": " << wrong);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::cout << programs << " programs in " << took.count() << " s\n";
    CHECK(programs > 0);
}

#else

#include "support/catch.hpp"

TEST_CASE("random programs need descriptors, which are not there on this system") { CHECK(true); }

#endif
