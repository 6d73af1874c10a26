#pragma once

#include "../bench.hpp"

/// Many sleeps at once of 1 to 1000 ms. A `contender` is
///
///     template <class OnWoken> void sleep_all(int count, OnWoken woken);
///
/// which starts `count` sleeps, sleep i of `duration_ms(i)`, takes `began = wall_ns()` before each, calls woken(i,
/// began) after it, and returns when all are over.
namespace bench {

/// Neighbours differ widely, each length comes up equally often, and all are whole milliseconds: libuv knows nothing
/// finer.
inline int duration_ms(int i) { return 1 + static_cast<int>((static_cast<long long>(i) * 7919 + 499) % 1000); }

template <class C>
int sleep_main(int argc, char** argv) {
    if (argc != 2) return 2;
    int count = std::atoi(argv[1]);
    std::vector<double> late(static_cast<std::size_t>(count));
    auto peak = find_counter("benchmark_peak_bytes"), live = find_counter("benchmark_live_bytes");
    C contender;
    contender.sleep_all(1, [](int, double) {});

    auto bytes = live ? live() : 0;
    double cpu = cpu_ns();
    contender.sleep_all(count, [&](int i, double began) {
        late[static_cast<std::size_t>(i)] = (wall_ns() - began) / 1e3 - duration_ms(i) * 1e3;
    });
    cpu = cpu_ns() - cpu;
    bytes = peak ? peak() - bytes : 0;
    report("cpu_ns", cpu / count);
    report("earliest_us", *std::min_element(late.begin(), late.end()));
    report("late_us", median(late));
    std::nth_element(late.begin(), late.end() - 1 - count / 100, late.end());
    report("late_99_us", late[static_cast<std::size_t>(count - 1 - count / 100)]);
    if (peak) report("bytes", static_cast<double>(bytes) / count);
    return 0;
}

}  // namespace bench
