#pragma once

#include <cstdint>

#if defined(__linux__)
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "events.hpp"
#elif defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <pthread.h>
#endif

namespace support {

/// Asked from the system at every call: Clang 14 and 15 keep pthread_self() across a suspension.
inline std::int64_t this_thread_number() {
#if defined(__linux__)
    return ::syscall(SYS_gettid);
#elif defined(_WIN32)
    return static_cast<std::int64_t>(::GetCurrentThreadId());
#else
    return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(::pthread_self()));
#endif
}

#if defined(__linux__)

inline std::filesystem::path thread_folder(std::int64_t thread) { return "/proc/self/task/" + std::to_string(thread); }

/// As the system shows it: at most 15 characters. Empty if there is no such thread.
inline std::string thread_name(std::int64_t thread) {
    std::ifstream file(thread_folder(thread) / "comm");
    std::string name;
    std::getline(file, name);
    return name;
}

/// The threads of this process that have this name.
inline std::vector<std::int64_t> threads_named(const std::string& name) {
    std::vector<std::int64_t> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        const std::int64_t thread = std::stoll(entry.path().filename().string());
        if (thread_name(thread) == name) {
            found.push_back(thread);
        }
    }
    return found;
}

/// A field of /proc/self/task/<thread>/status: status_of(t, "State"). Empty if there is none.
inline std::string status_of(std::int64_t thread, const std::string& field) {
    std::ifstream file(thread_folder(thread) / "status");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind(field + ':', 0) == 0) {
            const auto begin = line.find_first_not_of(" \t", field.size() + 1);
            return begin == std::string::npos ? std::string() : line.substr(begin);
        }
    }
    return {};
}

/// True as soon as the thread is no more; false if it still runs after all patience.
inline bool thread_ends(std::int64_t thread) {
    const auto give_up = std::chrono::steady_clock::now() + patience;
    std::error_code ignored;
    while (std::filesystem::exists(thread_folder(thread), ignored)) {
        if (std::chrono::steady_clock::now() > give_up) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

/// What a thread has done so far. Two equal ones mean that it did nothing in between.
struct thread_activity {
    std::int64_t processor_nanoseconds = 0;
    std::string voluntary_switches;

    bool operator==(const thread_activity&) const = default;
};

inline thread_activity activity_of(std::int64_t thread) {
    thread_activity activity;
    // The clock of another thread's processor time, as pthread_getcpuclockid makes it from a thread that it knows.
    const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6U);
    timespec used{};
    if (::clock_gettime(clock, &used) == 0) {
        activity.processor_nanoseconds = std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
    }
    activity.voluntary_switches = status_of(thread, "voluntary_ctxt_switches");
    return activity;
}

/// True once the thread has been asleep without a break for a while; false if it does not come to rest.
inline bool comes_to_rest(std::int64_t thread) {
    const auto give_up = std::chrono::steady_clock::now() + patience;
    auto before = activity_of(thread);
    for (int quiet = 0; quiet < 5;) {
        if (std::chrono::steady_clock::now() > give_up) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const auto now = activity_of(thread);
        quiet = now == before && status_of(thread, "State").rfind('S', 0) == 0 ? quiet + 1 : 0;
        before = now;
    }
    return true;
}

inline std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        ++count;
    }
    return count;
}

#endif

}  // namespace support
