#pragma once

#include "execution.hpp"
#include "thread_setup.hpp"

#include <atomic>
#include <mutex>

namespace sincpro::detail {

/// Base of what a fork() must find in order: around each, before_fork(), in_parent() and in_child() are called for every W
/// that has been used. In the child the list is empty again: some may have stood on the stacks of threads that do not exist
/// there.
template <class W>
class survives_fork {
public:
    survives_fork(const survives_fork&) = delete;
    survives_fork& operator=(const survives_fork&) = delete;

    /// Held during a fork, before all else: for what makes a W that all share.
    static std::mutex& creation() noexcept { return creation_; }

protected:
    survives_fork() = default;
    ~survives_fork() = default;

    /// Before each use of what before_fork() locks, which a fork takes after the lock of the list.
    void enter_fork_list() {
        if (registered_.load(std::memory_order_relaxed)) return;
        const std::lock_guard lock(mutex_);
        if (registered_.exchange(true, std::memory_order_relaxed)) return;
        older_ = newest_;
        if (newest_ != nullptr) newest_->newer_ = this;
        newest_ = this;
    }
    void leave_fork_list() noexcept {
        const std::lock_guard lock(mutex_);
        if (!registered_.load(std::memory_order_relaxed)) return;
        (newer_ != nullptr ? newer_->older_ : newest_) = older_;
        if (older_ != nullptr) older_->newer_ = newer_;
    }

    /// Must be called where a W begins what a fork would tear. A template, as must be all that leads to it, so that a file
    /// which begins nothing compiles no code: 0.35 s of 1.7.
    template <class Lazily>
    static void set_handlers() noexcept {
        static_cast<void>(handlers<Lazily>::set);
    }

private:
    W& self() noexcept { return static_cast<W&>(*this); }

    static void before_fork() noexcept {
        creation_.lock();
        mutex_.lock();
        for (survives_fork* w = newest_; w != nullptr; w = w->older_) w->self().before_fork();
    }
    static void in_parent() noexcept {
        for (survives_fork* w = newest_; w != nullptr; w = w->older_) w->self().in_parent();
        mutex_.unlock();
        creation_.unlock();
    }
    static void in_child() noexcept {
        // What goes on here is no worker's thread, also if a task forked; but a stranger may be running a task.
        trampoline* const outside = current().loop == nullptr ? current().innermost : nullptr;
        current() = {};
        current().innermost = outside;
        while (survives_fork* const w = newest_) {
            newest_ = w->older_;
            w->older_ = w->newer_ = nullptr;
            w->registered_.store(false, std::memory_order_relaxed);
            w->self().in_child();
        }
        mutex_.unlock();
        creation_.unlock();
    }

    template <class>
    struct handlers {
        // While the program is loaded, when there is one thread: a fork in another must not find them half set.
        static inline const bool set =
            (set_fork_handlers(&survives_fork::before_fork, &survives_fork::in_parent, &survives_fork::in_child), true);
    };

    // Not constinit: MinGW's mutex has no constant expression for it, though GCC makes a constant of it.
    static inline std::mutex creation_;
    static inline std::mutex mutex_;
    static inline constinit survives_fork* newest_ = nullptr;

    std::atomic<bool> registered_{false};
    survives_fork *older_ = nullptr, *newer_ = nullptr;
};

}  // namespace sincpro::detail
