#pragma once

#include "awaitable.hpp"
#include "event_loop.hpp"

#include <coroutine>
#include <system_error>

#if !defined(SINCPRO_DETAIL_POLLER_CONDITION)

namespace sincpro {

namespace detail {

class wait_fd_operation final : public operation, fd_wait {
public:
    wait_fd_operation(int descriptor, direction d) noexcept : fd_wait(&wait_fd_operation::is_ready) {
        fd = descriptor;
        way = d;
    }
    wait_fd_operation(const wait_fd_operation& other) noexcept : wait_fd_operation(other.fd, other.way) {}
    ~wait_fd_operation() { stop(); }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (!begin(h)) return true;
        try {
            waiting_ = event_loop::of(*job_).descriptors().add(*this);
        } catch (...) {
            unlink();
            throw;
        }
        if (!waiting_) complete();  // always ready, after one pass of the loop: a reader of files starves nobody
        return true;
    }
    void await_resume() const {
        throw_if_cancelled();
        if (error_ != 0) throw_errno(error_, "sincpro: wait for a descriptor");
    }

    void cancel(cancel_list&) noexcept override {
        stop();
        complete_cancelled();
    }

private:
    static void is_ready(fd_wait& w, int error) noexcept {
        auto& self = static_cast<wait_fd_operation&>(w);
        self.waiting_ = false;
        self.error_ = error;
        self.complete();
    }
    void stop() noexcept {
        if (waiting_) event_loop::of(*job_).descriptors().remove(*this);
        waiting_ = false;
    }

    bool waiting_ = false;
    int error_ = 0;
};

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

}  // namespace sincpro

#endif
