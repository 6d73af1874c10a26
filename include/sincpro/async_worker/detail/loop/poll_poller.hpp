#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "descriptor.hpp"

#if defined(SINCPRO_DETAIL_POLLER_POLL) && SINCPRO_DETAIL_DEFINITIONS

#include <cerrno>
#include <cstddef>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Waits in poll(2), for POSIX systems without epoll. Members as those of epoll_poller.
class poll_poller {
public:
    poll_poller() : poll_poller(make_pipe()) {}
    poll_poller(const poll_poller&) = delete;
    poll_poller& operator=(const poll_poller&) = delete;

    void wake() noexcept {
        const thread_cancellation_disabled meanwhile;
        [[maybe_unused]] const auto written = ::write(wake_.get(), "", 1);
    }
    bool in_use() const noexcept { return !waits_.empty(); }
    bool add(descriptor_wait& w);
    void remove(descriptor_wait& w) noexcept { std::erase(waits_, &w); }
    void wait(clock::time_point until) noexcept;
    void close_descriptors() noexcept {
        woken_.close();
        wake_.close();
    }

private:
    struct pipe_ends {
        int read, write;
    };
    explicit poll_poller(pipe_ends p) : woken_(p.read, "sincpro: pipe"), wake_(p.write, "sincpro: pipe") {
        polled_.reserve(1);  // wait() must not throw
    }
    static pipe_ends make_pipe();

    unique_descriptor woken_, wake_;
    std::vector<descriptor_wait*> waits_;
    std::vector<pollfd> polled_;
};

SINCPRO_DETAIL_INLINE poll_poller::pipe_ends poll_poller::make_pipe() {
    int ends[2] = {-1, -1};
    if (::pipe(ends) != 0) throw_errno(errno, "sincpro: pipe");
    for (int fd : ends) {
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return {ends[0], ends[1]};
}

SINCPRO_DETAIL_INLINE bool poll_poller::add(descriptor_wait& w) {
    struct stat status;
    if (::fstat(w.fd, &status) != 0) throw_errno(errno, "sincpro: wait for a descriptor");
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return false;
    for (const descriptor_wait* other : waits_) {
        if (other->fd == w.fd && other->way == w.way) {
            throw_errno(EBUSY, "sincpro: another task waits for this descriptor in the same direction");
        }
    }
    polled_.reserve(waits_.size() + 2);
    waits_.push_back(&w);
    return true;
}

SINCPRO_DETAIL_INLINE void poll_poller::wait(clock::time_point until) noexcept {
    polled_.assign(1, pollfd{woken_.get(), POLLIN, 0});
    for (const descriptor_wait* w : waits_) {
        const int events = w->way == direction::readable ? POLLIN : POLLOUT;
        polled_.push_back(pollfd{w->fd, static_cast<short>(events), 0});
    }
    int timeout = -1;
    if (until == at_once) {
        timeout = 0;
    } else if (until != never) {
        const auto left = until - clock::now();
        timeout = left.count() < 0 ? 0 : to_milliseconds(left);
    }
    if (::poll(polled_.data(), static_cast<nfds_t>(polled_.size()), timeout) <= 0) return;
    char drained[64];
    while (polled_[0].revents != 0 && ::read(woken_.get(), drained, sizeof drained) == sizeof drained) {
    }
    // From the last to the first, since those that are ready leave; nobody adds meanwhile.
    for (std::size_t i = waits_.size(); i-- > 0;) {
        if (const int events = polled_[i + 1].revents) {
            descriptor_wait& w = *waits_[i];
            remove(w);
            w.ready(w, (events & POLLNVAL) != 0 ? EBADF : 0);
        }
    }
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
