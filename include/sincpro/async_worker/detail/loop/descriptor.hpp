#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "../base/intrusive_list.hpp"

#include <cstdint>

// Which poller this system has; SINCPRO_ASYNC_WORKER_USE_POLL takes poll(2) where there is epoll.
#if defined(_WIN32)
#define SINCPRO_DETAIL_POLLER_CONDITION 1
#elif defined(__linux__) && !defined(SINCPRO_ASYNC_WORKER_USE_POLL)
#define SINCPRO_DETAIL_POLLER_EPOLL 1
#else
#define SINCPRO_DETAIL_POLLER_POLL 1
#endif

#if SINCPRO_DETAIL_DEFINITIONS
#include "../base/thread.hpp"

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>
#if !defined(_WIN32)
#include <unistd.h>
#endif
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

enum class direction : unsigned char { readable, writable };

/// Somebody who waits until a descriptor is ready. Intrusive: its owner keeps it in place while it is added.
struct descriptor_wait : intrusive_list_node<descriptor_wait> {  // of the waits that are to be revalidated
    using function = void (*)(descriptor_wait&, int error) noexcept;
    descriptor_wait(int descriptor, direction d, function f) noexcept : fd(descriptor), way(d), ready(f) {}

    int fd;
    direction way;
    function ready;           // called once, no longer added; error is an errno or 0
    std::uint64_t round = 0;  // of the poller, when this was added
};

[[noreturn]] void throw_errno(int error, const char* what);

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_COLD void throw_errno(int error, const char* what) {
    throw std::system_error(error, std::generic_category(), what);
}

#if !defined(_WIN32)

/// Rounded up, so never early; the loop looks again after what is more than an int can hold.
inline int to_milliseconds(clock::duration timeout) noexcept {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    return ms < (1 << 30) ? static_cast<int>(ms) : 1 << 30;
}

/// A descriptor that closes itself.
class unique_descriptor {
public:
    unique_descriptor(int fd, const char* what) : fd_(fd) {
        if (fd_ < 0) throw_errno(errno, what);
    }
    unique_descriptor(unique_descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_descriptor& operator=(unique_descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_descriptor() { close(); }
    void close() noexcept {
        if (fd_ < 0) return;
        const thread_cancellation_disabled meanwhile;
        ::close(std::exchange(fd_, -1));
    }
    int get() const noexcept { return fd_; }

private:
    int fd_;
};

#endif
#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
