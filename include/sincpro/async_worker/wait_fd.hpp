#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/coroutine/operation.hpp"
#include "detail/loop/descriptor.hpp"

#include <coroutine>
#include <exception>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/loop/event_loop.hpp"
#include "errors.hpp"

#include <system_error>
#endif

#if !defined(SINCPRO_DETAIL_POLLER_CONDITION)

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

namespace detail {

class wait_fd_operation final : public operation, descriptor_wait {
public:
    wait_fd_operation(int descriptor, direction d) noexcept
        : descriptor_wait(descriptor, d, &wait_fd_operation::is_ready) {}
    wait_fd_operation(const wait_fd_operation& other) noexcept
        : operation(other), descriptor_wait(other.fd, other.way, &wait_fd_operation::is_ready) {}
    ~wait_fd_operation() { stop_waiting(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (begin(h)) start_waiting();
        return true;
    }
    void await_resume() const {
        throw_if_cancelled();
        if (failure_) std::rethrow_exception(failure_);
    }

    SINCPRO_DETAIL_INLINE void cancel(cancel_list&) noexcept override;

private:
    void start_waiting() noexcept;
    void stop_waiting() noexcept;
    static void is_ready(descriptor_wait& w, int error) noexcept;

    bool waiting_ = false;
    std::exception_ptr failure_;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE void wait_fd_operation::start_waiting() noexcept {
    failure_ = nullptr;
    try {
        waiting_ = loop_->add_descriptor(*this);
    } catch (...) {
        failure_ = std::current_exception();
    }
    if (!waiting_) complete();  // through the queue: who reads a file, or tries again and again, starves nobody
}
SINCPRO_DETAIL_INLINE void wait_fd_operation::stop_waiting() noexcept {
    if (waiting_) loop_->remove_descriptor(*this);
    waiting_ = false;
}
SINCPRO_DETAIL_INLINE void wait_fd_operation::is_ready(descriptor_wait& w, int error) noexcept {
    auto& self = static_cast<wait_fd_operation&>(w);
    self.waiting_ = false;
    if (error != 0) {
        self.failure_ = exception_of<std::system_error>(std::error_code(error, std::generic_category()),
                                                        "sincpro: wait for a descriptor");
    }
    self.complete();
}
SINCPRO_DETAIL_INLINE void wait_fd_operation::cancel(cancel_list&) noexcept {
    stop_waiting();
    complete_cancelled();
}

#endif

}  // namespace detail

/// Waits until reading from `fd` would not block; data, end of file, a hang-up and an error count alike, the read tells.
/// Level triggered: whoever has not read everything need not wait. May be spurious, so `fd` should be non-blocking.
///
/// The caller keeps `fd` open meanwhile. One task at a time for each direction of a descriptor, else std::system_error
/// (device_or_resource_busy); std::system_error(bad_file_descriptor) if it is not open. A regular file is always ready.
/// (asyncio.loop.add_reader)
[[nodiscard]] inline auto wait_readable(int fd) noexcept {
    return detail::wait_fd_operation(fd, detail::direction::readable);
}

/// Waits until writing to `fd` would not block, or a connection that was begun is there or has failed. As wait_readable.
[[nodiscard]] inline auto wait_writable(int fd) noexcept {
    return detail::wait_fd_operation(fd, detail::direction::writable);
}

static_assert(awaitable<detail::wait_fd_operation>);

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION

#endif
