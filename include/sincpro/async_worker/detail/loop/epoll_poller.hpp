#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "../base/intrusive_list.hpp"
#include "descriptor.hpp"

#if defined(SINCPRO_DETAIL_POLLER_EPOLL) && SINCPRO_DETAIL_DEFINITIONS

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Waits in epoll. Loop thread, except wake().
///
/// A descriptor stays registered, level triggered, after its waiter has been resumed, so a task that waits for it again
/// makes no system call; it is taken out when it is ready and nobody waits. The number may have been closed and opened again
/// meanwhile: a wait that relied on such a cached registration is revalidated once it has lasted a millisecond.
class epoll_poller {
public:
    epoll_poller();
    epoll_poller(const epoll_poller&) = delete;
    epoll_poller& operator=(const epoll_poller&) = delete;

    /// Ends a wait(), also one that begins later. Any thread. Edge triggered, so nobody needs to read it back.
    void wake() noexcept;

    /// True if anybody waits for a descriptor.
    bool in_use() const noexcept { return waits_ != 0; }

    /// False if `w.fd` is of a kind that is always ready, such as a regular file. Throws std::system_error if it is not
    /// open or has a waiter for that direction.
    bool add(descriptor_wait& w);
    void remove(descriptor_wait& w) noexcept;

    /// Sleeps until something is ready, wake() or `until`, whichever is first; with `at_once` it does not sleep.
    void wait(clock::time_point until) noexcept;

    /// In the child of a fork, where all else may have been changing: only closes the descriptors.
    void close_descriptors() noexcept;

private:
    struct entry {
        descriptor_wait* waiters[2] = {};
        std::uint32_t armed = 0;         // what the kernel was told, if the number still means the same
        std::uint32_t registration = 0;  // counts them, to tell what the kernel reports of an older one
        std::uint32_t cached_uses = 0;   // of the registration, without a system call
        descriptor_wait*& waiter(direction d) noexcept { return waiters[static_cast<std::size_t>(d)]; }
    };
    static constexpr int most_events = 128;

    static constexpr std::uint32_t mask(direction d) noexcept {
        return d == direction::readable ? std::uint32_t{EPOLLIN} : std::uint32_t{EPOLLOUT};
    }
    entry& entry_of(const descriptor_wait& w) noexcept { return entries_[static_cast<std::size_t>(w.fd)]; }
    int control(int operation, int fd, std::uint32_t events, std::uint32_t registration = 0) noexcept;
    int arm(int fd, entry& e, std::uint32_t events) noexcept;
    int watch_event() noexcept { return control(EPOLL_CTL_ADD, event_.get(), std::uint32_t{EPOLLIN} | EPOLLET); }
    int sleep(epoll_event* events, std::chrono::nanoseconds timeout) noexcept;
    bool handle(const epoll_event& event) noexcept;
    void resume(descriptor_wait& w, int error) noexcept;
    void revalidate_all() noexcept;
    bool start_over() noexcept;

    unique_descriptor epoll_, event_;
    std::vector<entry> entries_;  // by number
    std::size_t waits_ = 0;
    intrusive_list<descriptor_wait> to_revalidate_;  // oldest first
    std::uint64_t round_ = 0;                        // counts the calls of wait()
    bool has_pwait2_ = true;
};

SINCPRO_DETAIL_COLD epoll_poller::epoll_poller()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC), "sincpro: epoll_create1"),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "sincpro: eventfd") {
    if (const int error = watch_event()) throw_errno(error, "sincpro: epoll_ctl");
}

SINCPRO_DETAIL_INLINE void epoll_poller::wake() noexcept {
    const std::uint64_t one = 1;
    const thread_cancellation_disabled meanwhile;
    [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
}

SINCPRO_DETAIL_COLD void epoll_poller::close_descriptors() noexcept {
    epoll_.close();
    event_.close();
}

SINCPRO_DETAIL_INLINE bool epoll_poller::add(descriptor_wait& w) {
    if (w.fd < 0 || w.fd == epoll_.get() || w.fd == event_.get()) throw_errno(EBADF, "sincpro: wait for a descriptor");
    const auto index = static_cast<std::size_t>(w.fd);
    if (index >= entries_.size()) {
        if (::fcntl(w.fd, F_GETFD) < 0) throw_errno(EBADF, "sincpro: wait for a descriptor");  // before it costs memory
        entries_.resize(index + 1 + index / 2);
    }
    entry& e = entries_[index];
    if (e.waiter(w.way) != nullptr) {
        throw_errno(EBUSY, "sincpro: another task waits for this descriptor in the same direction");
    }
    // Every 64th time in any case: a stale registration may answer each wait before it has lasted long.
    if ((e.armed & mask(w.way)) == 0 || ++e.cached_uses % 64 == 0) {
        if (const int error = arm(w.fd, e, e.armed | mask(w.way))) {
            if (error == EPERM) return false;
            throw_errno(error, "sincpro: wait for a descriptor");
        }
    } else {
        w.round = round_;
        to_revalidate_.push_back(w);
    }
    e.waiter(w.way) = &w;
    ++waits_;
    return true;
}

SINCPRO_DETAIL_INLINE void epoll_poller::remove(descriptor_wait& w) noexcept {
    entry_of(w).waiter(w.way) = nullptr;
    if (w.is_linked()) w.unlink();
    --waits_;
}

SINCPRO_DETAIL_INLINE void epoll_poller::wait(clock::time_point until) noexcept {
    ++round_;
    if (!to_revalidate_.empty() && to_revalidate_.front().round + 64 < round_) revalidate_all();
    constexpr auto revalidate_after = std::chrono::milliseconds(1);
    std::chrono::nanoseconds timeout{-1};
    bool shortened = false;
    if (until == at_once) {
        timeout = timeout.zero();
    } else {
        if (until != never) {
            timeout = until - clock::now();
            if (timeout.count() < 0) timeout = timeout.zero();
        }
        shortened = !to_revalidate_.empty() && (timeout.count() < 0 || timeout > revalidate_after);
        if (shortened) timeout = revalidate_after;
    }
    epoll_event events[most_events];
    const int n = sleep(events, timeout);
    for (int i = 0; i < n; ++i) {
        if (!handle(events[i])) break;  // the new instance tells of the rest again
    }
    if (n == 0 && shortened) revalidate_all();
}

SINCPRO_DETAIL_INLINE int epoll_poller::control(int operation, int fd, std::uint32_t events,
                                                std::uint32_t registration) noexcept {
    epoll_event e{};
    e.events = events;
    e.data.u64 = std::uint64_t{registration} << 32 | static_cast<std::uint32_t>(fd);
    return ::epoll_ctl(epoll_.get(), operation, fd, &e) == 0 ? 0 : errno;
}

// Tells the kernel what to watch; copes with a cache that is wrong about the number. An errno, or 0.
SINCPRO_DETAIL_INLINE int epoll_poller::arm(int fd, entry& e, std::uint32_t events) noexcept {
    int error = e.armed != 0 ? control(EPOLL_CTL_MOD, fd, events, e.registration) : ENOENT;
    if (error == ENOENT) error = control(EPOLL_CTL_ADD, fd, events, ++e.registration);
    if (error == EEXIST) error = control(EPOLL_CTL_MOD, fd, events, e.registration);
    e.armed = error == 0 ? events : 0;
    return error;
}

SINCPRO_DETAIL_INLINE int epoll_poller::sleep(epoll_event* events, std::chrono::nanoseconds timeout) noexcept {
#if defined(SYS_epoll_pwait2)
    if (has_pwait2_ && timeout.count() != 0) {
        struct {  // the kernel's timespec, of 64 bits on all architectures
            std::int64_t seconds, nanoseconds;
        } const t{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
        const long n = ::syscall(SYS_epoll_pwait2, epoll_.get(), events, most_events,
                                 timeout.count() < 0 ? nullptr : &t, nullptr, std::size_t{0});
        if (n >= 0 || errno == EINTR) return static_cast<int>(n);
        has_pwait2_ = false;  // Linux before 5.11, emulators, filters of system calls
    }
#endif
    return ::epoll_wait(epoll_.get(), events, most_events, timeout.count() < 0 ? -1 : to_milliseconds(timeout));
}

// False if it had to start over.
SINCPRO_DETAIL_INLINE bool epoll_poller::handle(const epoll_event& event) noexcept {
    const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
    if (fd == event_.get()) return true;
    entry& e = entries_[static_cast<std::size_t>(fd)];
    if (event.data.u64 >> 32 != e.registration) return start_over();
    const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    std::uint32_t unwanted = 0;
    bool wanted = false;
    for (direction d : {direction::readable, direction::writable}) {
        if (!broken && (event.events & mask(d)) == 0) continue;
        if (descriptor_wait* const w = e.waiter(d)) {
            wanted = true;
            resume(*w, 0);
        } else {
            unwanted |= mask(d);
        }
    }
    if (wanted && (broken || (e.armed & unwanted) == 0)) return true;
    const std::uint32_t rest = broken ? 0 : e.armed & ~unwanted;
    e.armed = rest;
    // Nobody waits any more, so its owner may be closing it at this moment: no race, an older registration is told apart.
    const tsan_ignore_scope closing;
    return control(rest != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, fd, rest, e.registration) == 0 || start_over();
}

SINCPRO_DETAIL_INLINE void epoll_poller::resume(descriptor_wait& w, int error) noexcept {
    remove(w);
    w.ready(w, error);
}

SINCPRO_DETAIL_INLINE void epoll_poller::revalidate_all() noexcept {
    while (!to_revalidate_.empty()) {
        descriptor_wait& w = to_revalidate_.pop_front();
        entry& e = entry_of(w);
        if (const int error = arm(w.fd, e, e.armed | mask(w.way))) resume(w, error == EPERM ? 0 : error);
    }
}

// The kernel reports a registration that no number reaches any more: of a descriptor that was closed here and lives on
// elsewhere, in a duplicate or a child process. Only a new epoll instance gets rid of it. False if there is one.
SINCPRO_DETAIL_COLD bool epoll_poller::start_over() noexcept {
    const int fresh = ::epoll_create1(EPOLL_CLOEXEC);
    if (fresh < 0) return true;  // it is reported, and tried, again; what else was reported must not wait for that
    unique_descriptor old = std::exchange(epoll_, unique_descriptor(fresh, ""));
    if (watch_event() != 0) {
        epoll_ = std::move(old);  // without the event no wake-up would arrive
        return true;
    }
    for (std::size_t fd = 0; fd < entries_.size(); ++fd) {
        entry& e = entries_[fd];
        e.armed = 0;
        std::uint32_t events = 0;
        for (direction d : {direction::readable, direction::writable}) {
            if (e.waiter(d) != nullptr) events |= mask(d);
        }
        if (events == 0) continue;
        if (const int error = arm(static_cast<int>(fd), e, events)) {
            for (descriptor_wait* w : {e.waiters[0], e.waiters[1]}) {
                if (w != nullptr) resume(*w, error == EPERM ? 0 : error);
            }
        }
    }
    return false;
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
