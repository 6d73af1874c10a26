#pragma once

#include "config.hpp"
#include "duration.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#if defined(_WIN32)
#define SINCPRO_DETAIL_POLLER_CONDITION 1
#include <condition_variable>
#include <mutex>
#elif defined(__linux__) && !defined(SINCPRO_ASYNC_WORKER_USE_POLL)
#define SINCPRO_DETAIL_POLLER_EPOLL 1
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define SINCPRO_DETAIL_POLLER_POLL 1
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace sincpro::detail {

enum class direction : unsigned char { readable, writable };

/// Somebody who waits until a descriptor is ready. Intrusive: its owner keeps it in place while it is added.
struct fd_wait {
    using function = void (*)(fd_wait&, int error) noexcept;
    explicit fd_wait(function f) noexcept : ready(f) {}

    int fd = -1;
    direction way = direction::readable;
    function ready;                              // called once, no longer added; error is an errno or 0
    std::uint64_t round = 0;                     // of the wait that it was added before
    fd_wait *older = nullptr, *newer = nullptr;  // of those whose registration has not been verified
};

[[noreturn]] inline void throw_errno(int error, const char* what) {
    throw std::system_error(error, std::generic_category(), what);
}

#if !defined(SINCPRO_DETAIL_POLLER_CONDITION)

/// Rounded up, so never early; the loop looks again after what is more than an int can hold.
inline int to_milliseconds(clock::duration timeout) noexcept {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    return ms < (1 << 30) ? static_cast<int>(ms) : 1 << 30;
}

/// A descriptor that closes itself.
class descriptor {
public:
    descriptor(int fd, const char* what) : fd_(fd) {
        if (fd_ < 0) throw_errno(errno, what);
    }
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() { close(); }
    void close() noexcept {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    int get() const noexcept { return fd_; }

private:
    int fd_;
};

#endif

#if defined(SINCPRO_DETAIL_POLLER_EPOLL)

/// Waits in epoll. Loop thread, except wake().
///
/// A descriptor stays registered, level triggered, after its waiter has been resumed, so a task that waits for it again
/// makes no system call; it is taken out when it is ready and nobody waits. A registration that the cache only believes in
/// (the number may have been closed and opened again) is verified once a wait has lasted a millisecond.
class poller {
public:
    poller()
        : epoll_(::epoll_create1(EPOLL_CLOEXEC), "sincpro: epoll_create1"),
          event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "sincpro: eventfd") {
        watch_event();
    }
    poller(const poller&) = delete;
    poller& operator=(const poller&) = delete;

    /// Ends a wait(), also one that begins later. Any thread. Edge triggered, so nobody needs to read it back.
    void wake() noexcept {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
    }

    /// In the child of a fork, where all else may have been changing: only closes the descriptors.
    void abandon() noexcept {
        epoll_.close();
        event_.close();
    }

    bool in_use() const noexcept { return waits_ != 0; }

    /// False if `w.fd` is of a kind that is always ready, such as a regular file. Throws std::system_error if it is not
    /// open or has a waiter for that direction.
    bool add(fd_wait& w) {
        if (w.fd < 0 || w.fd == epoll_.get() || w.fd == event_.get())
            throw_errno(EBADF, "sincpro: wait for a descriptor");
        const auto index = static_cast<std::size_t>(w.fd);
        if (index >= entries_.size()) {
            if (::fcntl(w.fd, F_GETFD) < 0)
                throw_errno(EBADF, "sincpro: wait for a descriptor");  // before it costs memory
            entries_.resize(index + 1 + index / 2);
        }
        entry& e = entries_[index];
        if (e.waiter(w.way) != nullptr) {
            throw_errno(EBUSY, "sincpro: another task waits for this descriptor in the same direction");
        }
        // Every 64th time in any case: a stale registration may answer each wait before it has lasted long.
        if ((e.armed & mask(w.way)) == 0 || ++e.believed % 64 == 0) {
            if (const int error = arm(w.fd, e, e.armed | mask(w.way))) {
                if (error == EPERM) return false;
                throw_errno(error, "sincpro: wait for a descriptor");
            }
        } else {
            doubt(w);
        }
        e.waiter(w.way) = &w;
        ++waits_;
        return true;
    }

    void remove(fd_wait& w) noexcept {
        entries_[static_cast<std::size_t>(w.fd)].waiter(w.way) = nullptr;
        trust(w);
        --waits_;
    }

    /// Sleeps until something is ready, wake() or `until`, whichever is first; `min()` only looks.
    void wait(clock::time_point until) noexcept {
        ++round_;
        if (oldest_ != nullptr && oldest_->round + 64 < round_) verify();
        constexpr auto verify_after = std::chrono::milliseconds(1);
        std::chrono::nanoseconds timeout{-1};
        bool shortened = false;
        if (until == clock::time_point::min()) {
            timeout = timeout.zero();
        } else {
            if (until != clock::time_point::max()) {
                timeout = until - clock::now();
                if (timeout.count() < 0) timeout = timeout.zero();
            }
            shortened = oldest_ != nullptr && (timeout.count() < 0 || timeout > verify_after);
            if (shortened) timeout = verify_after;
        }
        epoll_event events[128];
        const int n = sleep(events, timeout);
        for (int i = 0; i < n; ++i) {
            if (!handle(events[i])) break;  // the new instance tells of the rest again
        }
        if (n == 0 && shortened) verify();
    }

private:
    struct entry {
        fd_wait* waiters[2] = {};
        std::uint32_t armed = 0;         // what the kernel was told, if the number still means the same
        std::uint32_t registration = 0;  // counts them: what the kernel tells of an older one is of a stranger
        std::uint32_t believed = 0;
        fd_wait*& waiter(direction d) noexcept { return waiters[static_cast<std::size_t>(d)]; }
    };

    static constexpr std::uint32_t mask(direction d) noexcept {
        return d == direction::readable ? std::uint32_t{EPOLLIN} : std::uint32_t{EPOLLOUT};
    }

    int control(int operation, int fd, std::uint32_t events, std::uint32_t registration = 0) noexcept {
        epoll_event e{};
        e.events = events;
        e.data.u64 = std::uint64_t{registration} << 32 | static_cast<std::uint32_t>(fd);
        return ::epoll_ctl(epoll_.get(), operation, fd, &e) == 0 ? 0 : errno;
    }
    /// Tells the kernel what to watch; copes with a cache that is wrong about the number. An errno, or 0.
    int arm(int fd, entry& e, std::uint32_t events) noexcept {
        int error = e.armed != 0 ? control(EPOLL_CTL_MOD, fd, events, e.registration) : ENOENT;
        if (error == ENOENT) error = control(EPOLL_CTL_ADD, fd, events, ++e.registration);
        if (error == EEXIST) error = control(EPOLL_CTL_MOD, fd, events, e.registration);
        e.armed = error == 0 ? events : 0;
        return error;
    }
    void watch_event() {
        if (const int error = control(EPOLL_CTL_ADD, event_.get(), std::uint32_t{EPOLLIN} | EPOLLET)) {
            throw_errno(error, "sincpro: epoll_ctl");
        }
    }

    int sleep(epoll_event (&events)[128], std::chrono::nanoseconds timeout) noexcept {
#if defined(SYS_epoll_pwait2)
        if (has_pwait2_ && timeout.count() != 0) {
            struct {  // the kernel's timespec, of 64 bits on all architectures
                std::int64_t seconds, nanoseconds;
            } const t{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
            const long n = ::syscall(SYS_epoll_pwait2, epoll_.get(), &events[0], 128,
                                     timeout.count() < 0 ? nullptr : &t, nullptr, std::size_t{0});
            if (n >= 0 || errno == EINTR) return static_cast<int>(n);
            has_pwait2_ = false;  // Linux before 5.11, emulators, filters of system calls
        }
#endif
        return ::epoll_wait(epoll_.get(), events, 128, timeout.count() < 0 ? -1 : to_milliseconds(timeout));
    }

    /// False if it had to start over.
    bool handle(const epoll_event& event) noexcept {
        const int fd = static_cast<int>(event.data.u64 & 0xffffffff);
        if (fd == event_.get()) return true;
        entry& e = entries_[static_cast<std::size_t>(fd)];
        if (event.data.u64 >> 32 != e.registration) return start_over();
        const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
        std::uint32_t unwanted = 0;
        bool wanted = false;
        for (direction d : {direction::readable, direction::writable}) {
            if (!broken && (event.events & mask(d)) == 0) continue;
            if (fd_wait* const w = e.waiter(d)) {
                wanted = true;
                resume(*w, 0);
            } else {
                unwanted |= mask(d);
            }
        }
        if (wanted && (broken || (e.armed & unwanted) == 0)) return true;
        const std::uint32_t rest = broken ? 0 : e.armed & ~unwanted;
        e.armed = rest;
        // Nobody waits any more, so its owner may be closing it: that is no fault, an older registration is told apart.
        const unseen_by_thread_sanitizer closing;
        return control(rest != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, fd, rest, e.registration) == 0 || start_over();
    }

    void resume(fd_wait& w, int error) noexcept {
        remove(w);
        w.ready(w, error);
    }

    void doubt(fd_wait& w) noexcept {
        w.round = round_;
        w.older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = &w;
        newest_ = &w;
    }
    void trust(fd_wait& w) noexcept {
        if (w.older == nullptr && oldest_ != &w) return;
        (w.older != nullptr ? w.older->newer : oldest_) = w.newer;
        (w.newer != nullptr ? w.newer->older : newest_) = w.older;
        w.older = w.newer = nullptr;
    }
    void verify() noexcept {
        while (oldest_ != nullptr) {
            fd_wait& w = *oldest_;
            trust(w);
            entry& e = entries_[static_cast<std::size_t>(w.fd)];
            if (const int error = arm(w.fd, e, e.armed | mask(w.way))) resume(w, error == EPERM ? 0 : error);
        }
    }
    /// The kernel reports a registration that no number reaches any more: of a descriptor that was closed here and lives on
    /// elsewhere, in a duplicate or a child process. Only a new epoll instance gets rid of it. False if there is one.
    bool start_over() noexcept {
        const int fresh = ::epoll_create1(EPOLL_CLOEXEC);
        if (fresh < 0) return true;  // it is reported, and tried, again; what else was reported must not wait for that
        descriptor old = std::exchange(epoll_, descriptor(fresh, ""));
        if (control(EPOLL_CTL_ADD, event_.get(), std::uint32_t{EPOLLIN} | EPOLLET) != 0) {
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
                for (fd_wait* w : {e.waiters[0], e.waiters[1]}) {
                    if (w != nullptr) resume(*w, error == EPERM ? 0 : error);
                }
            }
        }
        return false;
    }

    descriptor epoll_, event_;
    std::vector<entry> entries_;  // by number
    std::size_t waits_ = 0;
    fd_wait *oldest_ = nullptr, *newest_ = nullptr;  // of those to be verified
    std::uint64_t round_ = 0;
#if defined(SYS_epoll_pwait2)
    bool has_pwait2_ = true;
#endif
};

#elif defined(SINCPRO_DETAIL_POLLER_POLL)

/// Waits in poll(2), for POSIX systems without epoll. Loop thread, except wake().
class poller {
public:
    poller() : poller(make_pipe()) {}
    poller(const poller&) = delete;
    poller& operator=(const poller&) = delete;

    void wake() noexcept { [[maybe_unused]] const auto written = ::write(wake_.get(), "", 1); }

    void abandon() noexcept {
        woken_.close();
        wake_.close();
    }

    bool in_use() const noexcept { return !waits_.empty(); }

    bool add(fd_wait& w) {
        struct stat status;
        if (::fstat(w.fd, &status) != 0) throw_errno(errno, "sincpro: wait for a descriptor");
        if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return false;
        for (const fd_wait* other : waits_) {
            if (other->fd == w.fd && other->way == w.way) {
                throw_errno(EBUSY, "sincpro: another task waits for this descriptor in the same direction");
            }
        }
        polled_.reserve(waits_.size() + 2);
        waits_.push_back(&w);
        return true;
    }

    void remove(fd_wait& w) noexcept { std::erase(waits_, &w); }

    void wait(clock::time_point until) noexcept {
        polled_.assign(1, pollfd{woken_.get(), POLLIN, 0});
        for (const fd_wait* w : waits_) {
            const int events = w->way == direction::readable ? POLLIN : POLLOUT;
            polled_.push_back(pollfd{w->fd, static_cast<short>(events), 0});
        }
        int timeout = -1;
        if (until == clock::time_point::min()) {
            timeout = 0;
        } else if (until != clock::time_point::max()) {
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
                fd_wait& w = *waits_[i];
                remove(w);
                w.ready(w, (events & POLLNVAL) != 0 ? EBADF : 0);
            }
        }
    }

private:
    struct pipe_ends {
        int read, write;
    };
    explicit poller(pipe_ends p) : woken_(p.read, "sincpro: pipe"), wake_(p.write, "sincpro: pipe") {
        polled_.reserve(1);  // wait() must not throw
    }
    static pipe_ends make_pipe() {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) throw_errno(errno, "sincpro: pipe");
        for (int fd : ends) {
            ::fcntl(fd, F_SETFD, FD_CLOEXEC);
            ::fcntl(fd, F_SETFL, O_NONBLOCK);
        }
        return {ends[0], ends[1]};
    }

    descriptor woken_, wake_;
    std::vector<fd_wait*> waits_;
    std::vector<pollfd> polled_;
};

#else

/// Sleeps on a condition variable: no descriptors on this system. Loop thread, except wake().
class poller {
public:
    void wake() noexcept {
        const std::lock_guard lock(mutex_);
        woken_ = true;
        changed_.notify_one();
    }
    void abandon() noexcept {}
    bool in_use() const noexcept { return false; }
    void wait(clock::time_point until) {
        std::unique_lock lock(mutex_);
        const auto woken = [this] { return woken_; };
        wait_until_there(changed_, lock, until, woken);
        woken_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool woken_ = false;
};

#endif

}  // namespace sincpro::detail
