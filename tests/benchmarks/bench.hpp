#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

/// What every program here shares: clocks, pinning, the memory of the process, and the line that the driver reads.
namespace bench {

inline double clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

inline double wall_ns() { return clock_ns(CLOCK_MONOTONIC); }

/// User and system time of all threads of this process.
inline double cpu_ns() { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/// Threads that the calling thread starts afterwards inherit this.
inline void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        std::perror("sched_setaffinity");
        std::exit(1);
    }
}

/// The CPUs that this process may use: those are not always 0 and 1.
inline std::vector<int> usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
    return cpus;
}

/// A field of /proc/self/status in bytes: "VmRSS:" now, "VmHWM:" the peak.
inline double status_bytes(const std::string& field) {
    double kilobytes = 0;
    char line[256];
    std::FILE* file = std::fopen("/proc/self/status", "r");
    while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) {
        if (std::string(line).rfind(field, 0) == 0) kilobytes = std::strtod(line + field.size(), nullptr);
    }
    if (file != nullptr) std::fclose(file);
    return kilobytes * 1024;
}

inline void allow_many_files() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/// A counter of allocation_counter.cpp, or none where that library is not preloaded.
using counter = std::uint64_t (*)();

inline counter find_counter(const char* name) { return reinterpret_cast<counter>(dlsym(RTLD_DEFAULT, name)); }

inline double median(std::vector<double> values) {
    if (values.empty()) return 0;
    auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// One measurement, as the driver reads it.
inline void report(const std::string& what, double value) {
    std::printf("%s\t%.6g\n", what.c_str(), value);
    std::fflush(stdout);
}

/// Makes the compiler believe that `value` is used.
template <class T>
inline void keep(const T& value) {
    asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace bench
