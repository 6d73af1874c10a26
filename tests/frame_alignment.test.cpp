#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/when_all.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

#if defined(__AVX512F__)
constexpr std::size_t widest_register = 64;
#elif defined(__AVX__)
constexpr std::size_t widest_register = 32;
#else
constexpr std::size_t widest_register = alignof(std::max_align_t);
#endif

struct alignas(widest_register) lanes {
    double values[widest_register / sizeof(double)];
};

template <std::size_t Padding>
sincpro::task<bool> is_aligned() {
    lanes local{};
    char padding[16 * Padding + 1] = {};
    co_await sincpro::yield();
    local.values[0] += padding[0];
    const void* volatile address = &local;  // else the compiler takes for granted what is asked
    co_return reinterpret_cast<std::uintptr_t>(address) % alignof(lanes) == 0;
}

}  // namespace

TEST_CASE("a local in a frame is aligned as the widest vector register of the target needs") {
    std::vector<sincpro::task<bool>> tasks;
    for (int i = 0; i < 20; ++i) {
        tasks.push_back(is_aligned<0>());
        tasks.push_back(is_aligned<1>());
        tasks.push_back(is_aligned<2>());
        tasks.push_back(is_aligned<3>());
    }
    for (const bool aligned : sincpro::run_async_task(sincpro::when_all(std::move(tasks)))) CHECK(aligned);
}
