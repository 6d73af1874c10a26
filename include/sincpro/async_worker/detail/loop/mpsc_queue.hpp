#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "work.hpp"

#include <atomic>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Multi-producer, single-consumer queue of work for the loop. Lock-free, FIFO; never allocates.
///
/// Its head also says whether the consumer sleeps, so that exactly one producer wakes it, and none while it is awake.
class mpsc_queue {
    using node = intrusive_list_node<work>;

public:
    enum class push_result { queued, must_wake, closed };

    /// Any thread.
    push_result push(work& w) noexcept {
        node* head = head_.load(std::memory_order_relaxed);
        do {
            if (head == &closed_) return push_result::closed;
            w.next_ = head == &parked_ ? nullptr : head;
            // Releases the work, and what was written before, to the acquire in take_all(). seq_cst: see
            // worker_thread::submit() and stop(), of which one must see the other.
        } while (!head_.compare_exchange_weak(head, &w, std::memory_order_seq_cst, std::memory_order_relaxed));
        return head == &parked_ ? push_result::must_wake : push_result::queued;
    }

    /// Any thread; another one may push or take at the same time.
    bool empty() const noexcept { return is_marker(head_.load(std::memory_order_relaxed)); }

    /// Consumer: calls `visit(work&)` with all that was pushed, oldest first. Not while parked or closed.
    template <class Visit>
    void take_all(Visit visit) noexcept {
        if (head_.load(std::memory_order_relaxed) == nullptr) return;
        visit_all(head_.exchange(nullptr, std::memory_order_acquire), visit);
    }

    /// Any thread: as take_all(), but leaves a queue that is parked or closed as it is. What is taken must be pushed again.
    template <class Visit>
    void take_all_on_any_thread(Visit visit) noexcept {
        node* head = head_.load(std::memory_order_seq_cst);
        do {
            if (is_marker(head)) return;
        } while (!head_.compare_exchange_weak(head, nullptr, std::memory_order_acquire, std::memory_order_relaxed));
        visit_all(head, visit);
    }

    /// Consumer: from now on a producer must wake me. False if there is something to take.
    bool park() noexcept { return replace(nullptr, &parked_); }
    void unpark() noexcept { replace(&parked_, nullptr); }

    /// Consumer: from now on nothing can be pushed. False if there is something to take.
    bool close() noexcept { return replace(nullptr, &closed_); }

private:
    static bool is_marker(const node* head) noexcept { return head == nullptr || head == &parked_ || head == &closed_; }
    bool replace(node* from, node* to) noexcept {
        return head_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    template <class Visit>
    static void visit_all(node* newest, Visit visit) noexcept {
        node* oldest = nullptr;
        while (newest != nullptr) oldest = std::exchange(newest, std::exchange(newest->next_, oldest));
        while (oldest != nullptr) visit(static_cast<work&>(*std::exchange(oldest, oldest->next_)));
    }

    static inline constinit node parked_{}, closed_{};  // only their addresses count
    std::atomic<node*> head_{nullptr};
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
