#pragma once

#include "cancellation.hpp"
#include "inbox.hpp"
#include "poller.hpp"
#include "timer_queue.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace sincpro::detail {

/// First in, first out, of work that the loop's own thread queued or took. Intrusive, so that work can leave it.
class work_queue {
public:
    work_queue() noexcept { ends_.prev = ends_.next = &ends_; }
    work_queue(const work_queue&) = delete;
    work_queue& operator=(const work_queue&) = delete;

    bool empty() const noexcept { return ends_.next == &ends_; }
    void push(work& w) noexcept {
        w.prev = ends_.prev;
        w.next = &ends_;
        ends_.prev->next = &w;
        ends_.prev = &w;
    }
    work& pop() noexcept {
        work& w = *ends_.next;
        w.leave_queue();
        return w;
    }
    void take_all(work_queue& from) noexcept {
        if (from.empty()) return;
        work *const first = from.ends_.next, *const last = from.ends_.prev;
        first->prev = ends_.prev;
        ends_.prev->next = first;
        last->next = &ends_;
        ends_.prev = last;
        from.ends_.prev = from.ends_.next = &from.ends_;
    }

private:
    work ends_{nullptr};
};

/// What waits for threads of its own before the loop ends: the helper threads of to_thread.
class loop_service {
public:
    virtual ~loop_service() = default;
    virtual void stop(clock::time_point until) noexcept = 0;
};

/// Yields the processor for 20 us, and at least 8 times, to whoever is about to bring what `there()` waits for, before its
/// caller goes to sleep: on an idle machine 5 to 50 times faster than a sleep and a wake-up. On a busy one a yield gives a
/// whole time slice away, and a call took 10 ms: after one that lasted 1 ms this does not look for 50 times as long.
/// True if it is there.
template <class Condition>
bool look(Condition there) noexcept {
    if (there()) return true;
    clock::time_point& blind_until = current().blind_until;
    const clock::time_point begun = clock::now();
    if (begun < blind_until) return false;
    clock::time_point before = begun;
    for (int yields = 1;; ++yields) {
        std::this_thread::yield();
        const bool found = there();
        const clock::time_point now = clock::now();
        const auto took = now - std::exchange(before, now);
        if (took > std::chrono::milliseconds(1)) blind_until = now + 50 * took;
        if (found) return true;
        if (now < blind_until || (yields >= 8 && now - begun > std::chrono::microseconds(20))) return false;
    }
}

/// Runs work, timers and descriptors on the thread that calls run(), one after the other.
class event_loop : public executor {
public:
    event_loop() noexcept { strays = &strays_; }
    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    static event_loop& of(const job& j) noexcept { return static_cast<event_loop&>(*j.loop); }

    bool post(work& w) noexcept final {
        if (current().loop == this) {
            ready_.push(w);
            return true;
        }
        // From the push on this loop may end, so what follows is for those who count: see release_poller().
        if (!enter()) return false;
        const inbox::pushed pushed = inbox_.push(w);
        if (pushed == inbox::pushed::must_wake) poller_->wake();
        leave();
        return pushed != inbox::pushed::closed;
    }

    void collect() noexcept final {
        if (current().loop != this) return;
        take_in(inbox_);
    }

    // What follows is for the loop's thread.

    void add_timer(timer& t) noexcept { timers_.add(t); }
    void remove_timer(timer& t) noexcept { timers_.remove(t); }
    poller& descriptors() noexcept { return *poller_; }

    void resume(job& j, std::coroutine_handle<> h, const await_location& at) noexcept final {
        running_at_ = at;
        running_ = j.root;
        gate_.store(gate::running, std::memory_order_release);  // pairs with the acquire of while_held()
        j.run(h);
        if (gate_.exchange(gate::open, std::memory_order_acq_rel) == gate::held) {
            const std::lock_guard wait_until_let_go(held_);
        }
    }

    std::unique_ptr<loop_service> service;

protected:
    ~event_loop() = default;

    /// Runs until `ended()` says so at a time when there is nothing to do.
    template <class Ended>
    void run(Ended ended) {
        current().loop = this;
        while (true) {
            if (!inbox_.empty()) {
                take_in(inbox_);
                look_first_ = true;
            }
            if (!timers_.empty()) timers_.fire_due(clock::now());
            if (ready_.empty()) {
                if (ended()) break;
                idle();
                continue;
            }
            batch_.take_all(ready_);
            while (!batch_.empty()) {
                work& w = batch_.pop();
                w.run(w);
            }
            if (poller_->in_use() && !ready_.empty()) poller_->wait(clock::time_point::min());
        }
        current().loop = nullptr;
    }

    /// Queues what came through the door, linked by `next`. One pass for all that is to be done with it: of a million tasks
    /// each takes a cache miss.
    virtual void take_in(inbox& from) noexcept = 0;
    void queue(work& w) noexcept { ready_.push(w); }

    inbox& door() noexcept { return inbox_; }

    /// Its descriptors hold this loop.
    void open_poller() {
        poller_ = std::make_unique<poller>();
        hold();
    }

    /// After run(): closes the descriptors, and lets go of this loop, as soon as no other thread is about to write to them.
    void release_poller() noexcept { leave(); }

    /// In the child of a fork: closes its copies of the descriptors; nothing can be posted any more.
    void abandon_poller() noexcept {
        users_.store(0, std::memory_order_relaxed);
        if (poller_ != nullptr) poller_->abandon();
    }

    /// Another thread: if a coroutine of this loop is being run, keeps the loop from going on after it while `look(root,
    /// where it was last resumed)` runs. That coroutine goes on and may end, so its root is but an address; all other
    /// jobs stand still and may be looked at.
    template <class Look>
    bool while_held(Look look) {
        const std::lock_guard lock(held_);
        gate expected = gate::running;
        if (!gate_.compare_exchange_strong(expected, gate::held, std::memory_order_acq_rel)) return false;
        struct let_go {
            ~let_go() {
                gate held = gate::held;  // unless the loop waits for the lock by now
                state.compare_exchange_strong(held, gate::running, std::memory_order_acq_rel);
            }
            std::atomic<gate>& state;
        } const at_the_end{gate_};
        look(std::as_const(running_), std::as_const(running_at_));
        return true;
    }

private:
    enum class gate : unsigned char { open, running, held };

    void idle() noexcept {
        // Where one was ready another may be: without parking and a timeout, a byte to and fro takes 0.9 of the time.
        if (descriptor_was_ready_ && (descriptor_was_ready_ = descriptors_ready())) return;
        if (std::exchange(look_first_, false) && look([this] { return !inbox_.empty() || descriptors_ready(); }))
            return;
        if (!ready_.empty() || !inbox_.park()) return;
        poller_->wait(timers_.earliest());
        inbox_.unpark();
        descriptor_was_ready_ = !ready_.empty();
    }
    bool descriptors_ready() noexcept {
        if (poller_->in_use()) poller_->wait(clock::time_point::min());
        return !ready_.empty();
    }

    bool enter() noexcept {
        unsigned users = users_.load(std::memory_order_relaxed);
        do {
            if (users == 0) return false;
        } while (!users_.compare_exchange_weak(users, users + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
        return true;
    }
    void leave() noexcept {
        if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
        poller_.reset();
        drop();  // may destroy this loop
    }

    struct stray_job final : job {
        using job::job;
        void finished() noexcept override {}
    };

    stray_job strays_{this};
    inbox inbox_;
    std::atomic<unsigned> users_{1};  // the loop itself, and who is between a push and the end of its wake-up call
    std::unique_ptr<poller> poller_;
    work_queue ready_, batch_;
    timer_queue timers_;
    bool look_first_ = false;            // work came through the door lately, so more is likely
    bool descriptor_was_ready_ = false;  // after the last wait

    std::atomic<gate> gate_{gate::open};
    std::mutex held_;
    const job* running_ = nullptr;  // a root
    await_location running_at_{};
};

}  // namespace sincpro::detail
