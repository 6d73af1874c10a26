#pragma once

#include "execution.hpp"

#include <atomic>
#include <utility>

namespace sincpro::detail {

/// The door through which other threads hand work to the loop: any number push, one takes. Lock-free; first in, first out.
///
/// Its head also tells whether the taker sleeps, so that exactly one pusher wakes it, and none while it is awake.
class inbox {
public:
    enum class pushed { queued, must_wake, closed };

    pushed push(work& w) noexcept {
        work* head = head_.load(std::memory_order_relaxed);
        do {
            if (head == &closed_) return pushed::closed;
            w.next = head == &parked_ ? nullptr : head;
            // The release pairs with the acquire of take(): the taker sees the work, and what was written before.
            // In one order with what worker_loop::submit() and stop() ask of each other.
        } while (!head_.compare_exchange_weak(head, &w, std::memory_order_seq_cst, std::memory_order_relaxed));
        return head == &parked_ ? pushed::must_wake : pushed::queued;
    }

    bool empty() const noexcept {
        const work* const head = head_.load(std::memory_order_relaxed);
        return head == nullptr || head == &parked_ || head == &closed_;
    }

    /// Everything that was pushed, oldest first, linked by `next`. Not while parked or closed.
    work* take() noexcept {
        if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
        return reversed(head_.exchange(nullptr, std::memory_order_acquire));
    }

    /// Taker: from now on a pusher must wake me. False if there is something to take.
    bool park() noexcept { return replace(nullptr, &parked_); }
    void unpark() noexcept { replace(&parked_, nullptr); }

    /// Taker: from now on nothing can be pushed. False if there is something to take.
    bool close() noexcept { return replace(nullptr, &closed_); }

    /// Any thread: takes what is there and leaves parked or closed as it is. What is taken must be pushed again.
    work* steal() noexcept {
        work* head = head_.load(std::memory_order_seq_cst);
        do {
            if (head == nullptr || head == &parked_ || head == &closed_) return nullptr;
        } while (!head_.compare_exchange_weak(head, nullptr, std::memory_order_acquire, std::memory_order_relaxed));
        return reversed(head);
    }

private:
    bool replace(work* from, work* to) noexcept {
        return head_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    static work* reversed(work* w) noexcept {
        work* first = nullptr;
        while (w != nullptr) first = std::exchange(w, std::exchange(w->next, first));
        return first;
    }

    static inline constinit work parked_{nullptr}, closed_{nullptr};  // only their addresses count
    std::atomic<work*> head_{nullptr};
};

}  // namespace sincpro::detail
