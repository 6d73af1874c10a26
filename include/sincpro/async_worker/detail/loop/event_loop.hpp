#pragma once

#include "../base/config.hpp"
#include "../base/duration.hpp"
#include "../base/intrusive_list.hpp"
#include "../base/intrusive_ptr.hpp"
#include "descriptor.hpp"
#include "mpsc_queue.hpp"
#include "timing_wheel.hpp"
#include "work.hpp"

#include <atomic>
#include <cstddef>

#if SINCPRO_DETAIL_DEFINITIONS
#include "poller.hpp"
#include "spin_then_yield.hpp"

#include <utility>

/// The event loop that this thread runs, of whatever version of the library: all that are in one process ask this symbol
/// before they block. Its name and its type never change.
extern "C" {
SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_SHARED inline const void** sincpro_async_worker_loop_of_this_thread() noexcept {
    static constinit thread_local const void* loop = nullptr;
    return &loop;
}
}
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class poller;

/// Runs work, timers and descriptors on the thread that calls run(), one after the other. It has never heard of a coroutine.
class event_loop : public ref_counted<event_loop> {
public:
    /// The loop that this thread runs, or null.
    static event_loop* of_this_thread() noexcept;
    /// True if this thread runs a loop, also that of another version of the library in this process.
    static bool is_on_this_thread() noexcept;
    /// In the child of a fork, where no thread runs a loop.
    static void forget_this_thread() noexcept;

    /// Queues `w`, from any thread. False, and nothing done, if the loop has ended. Whoever calls it on another thread must
    /// hold a reference, or know that the loop does not end before `w` has run.
    bool post(work& w) noexcept;

    // What follows is for the loop's thread.

    /// Queues what other threads have posted, so that it can leave the queue. Does nothing on another thread.
    void collect_posted() noexcept;

    void add_timer(timer& t) noexcept { timers_.add(t); }
    void remove_timer(timer& t) noexcept { timers_.remove(t); }

    /// False if the descriptor is of a kind that is always ready, such as a regular file. Throws std::system_error if it is
    /// not open or has a waiter for that direction.
    bool add_descriptor(descriptor_wait& w);
    void remove_descriptor(descriptor_wait& w) noexcept;

protected:
    friend ref_counted<event_loop>;
    event_loop() noexcept;
    SINCPRO_DETAIL_INLINE virtual ~event_loop();

    /// Makes what the loop sleeps in, which holds a reference to the loop. Throws std::system_error if the system has no
    /// descriptors left.
    void open();

    /// Runs until has_ended(). Between open() and close().
    void run() noexcept;

    /// Closes the descriptors, and releases that reference, as soon as no other thread is about to write to them.
    void close() noexcept { end_use(); }

    /// In the child of a fork: closes its copies of the descriptors; nothing can be posted any more.
    void close_after_fork() noexcept;

    /// Asked when there is nothing to do.
    virtual bool has_ended() noexcept = 0;
    /// Takes at most `limit` of what was posted, oldest first, and calls enqueue() with each.
    SINCPRO_DETAIL_INLINE virtual void take_posted(std::size_t limit) noexcept;

    void enqueue(work& w) noexcept { ready_.push_back(w); }
    mpsc_queue& posted() noexcept { return posted_; }

private:
    /// So much work is taken from the queue and run before the loop turns to the timers again, and 16 times as much before
    /// it asks for descriptors, which is dearer; however much is left.
    static constexpr std::size_t portion = 64;

    void sleep() noexcept;
    bool poll_descriptors() noexcept;
    bool begin_use() noexcept;
    void end_use() noexcept;

    mpsc_queue posted_;
    std::atomic<unsigned> users_{0};  // the loop itself, and who is between a push and the end of its wake-up call
    intrusive_ptr<poller> poller_;
    intrusive_list<work> ready_;
    timing_wheel timers_;
    unsigned portions_ = 0;
    bool work_was_posted_ = false;       // lately, so more is likely
    bool descriptor_was_ready_ = false;  // after the last wait
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_SHARED SINCPRO_DETAIL_INLINE event_loop*& loop_of_this_thread() noexcept {
    static constinit thread_local event_loop* loop = nullptr;
    return loop;
}

SINCPRO_DETAIL_INLINE event_loop* event_loop::of_this_thread() noexcept { return loop_of_this_thread(); }
SINCPRO_DETAIL_INLINE bool event_loop::is_on_this_thread() noexcept {
    return *sincpro_async_worker_loop_of_this_thread() != nullptr;
}
SINCPRO_DETAIL_INLINE void event_loop::forget_this_thread() noexcept {
    loop_of_this_thread() = nullptr;
    *sincpro_async_worker_loop_of_this_thread() = nullptr;
}

SINCPRO_DETAIL_INLINE event_loop::event_loop() noexcept = default;
SINCPRO_DETAIL_INLINE event_loop::~event_loop() = default;

SINCPRO_DETAIL_COLD void event_loop::open() {
    poller_ = intrusive_ptr<poller>(new poller);
    add_ref();
    users_.store(1, std::memory_order_release);
}

SINCPRO_DETAIL_COLD void event_loop::close_after_fork() noexcept {
    users_.store(0, std::memory_order_relaxed);
    if (poller_) poller_->close_descriptors();
}

SINCPRO_DETAIL_INLINE bool event_loop::post(work& w) noexcept {
    if (of_this_thread() == this) {
        ready_.push_back(w);
        return true;
    }
    // From the push on this loop may end, and its poller with it, but for those who use it.
    if (!begin_use()) return false;
    const mpsc_queue::push_result pushed = posted_.push(w);
    if (pushed == mpsc_queue::push_result::must_wake) poller_->wake();
    end_use();
    return pushed != mpsc_queue::push_result::closed;
}

SINCPRO_DETAIL_INLINE bool event_loop::begin_use() noexcept {
    unsigned users = users_.load(std::memory_order_relaxed);
    do {
        if (users == 0) return false;
    } while (!users_.compare_exchange_weak(users, users + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
}
SINCPRO_DETAIL_INLINE void event_loop::end_use() noexcept {
    if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    poller_ = {};
    release();
}

SINCPRO_DETAIL_INLINE void event_loop::take_posted(std::size_t limit) noexcept {
    posted_.take(limit, [this](work& w) { enqueue(w); });
}
SINCPRO_DETAIL_INLINE void event_loop::collect_posted() noexcept {
    if (of_this_thread() == this) take_posted(static_cast<std::size_t>(-1));
}

SINCPRO_DETAIL_INLINE void event_loop::run() noexcept {
    loop_of_this_thread() = this;
    *sincpro_async_worker_loop_of_this_thread() = this;
    while (true) {
        if (!posted_.empty()) {
            take_posted(portion);
            work_was_posted_ = true;
        }
        if (!timers_.empty()) timers_.fire_due(clock::now());
        if (ready_.empty()) {
            if (has_ended()) break;
            sleep();
            continue;
        }
        for (std::size_t n = 0; n != portion && !ready_.empty(); ++n) {
            work& w = ready_.pop_front();
            w.run(w);
        }
        if (++portions_ % 16 == 0 && poller_->in_use() && !ready_.empty()) poller_->wait(at_once);
    }
    forget_this_thread();
}

SINCPRO_DETAIL_INLINE void event_loop::sleep() noexcept {
    // Where one was ready another may be: without parking and a timeout, a byte to and fro takes 0.9 of the time.
    if (descriptor_was_ready_ && (descriptor_was_ready_ = poll_descriptors())) return;
    if (std::exchange(work_was_posted_, false) &&
        spin_then_yield([this] { return !posted_.empty() || poll_descriptors(); })) {
        return;
    }
    if (!ready_.empty() || !posted_.park()) return;
    poller_->wait(timers_.earliest());
    posted_.unpark();
    descriptor_was_ready_ = !ready_.empty();
}

SINCPRO_DETAIL_INLINE bool event_loop::poll_descriptors() noexcept {
    if (poller_->in_use()) poller_->wait(at_once);
    return !ready_.empty();
}

#if !defined(SINCPRO_DETAIL_POLLER_CONDITION)
SINCPRO_DETAIL_INLINE bool event_loop::add_descriptor(descriptor_wait& w) { return poller_->add(w); }
SINCPRO_DETAIL_INLINE void event_loop::remove_descriptor(descriptor_wait& w) noexcept { poller_->remove(w); }
#endif

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
