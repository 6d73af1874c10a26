#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "work.hpp"

#include <atomic>
#include <cstddef>
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

    /// Consumer.
    bool empty() const noexcept { return taken_ == nullptr && is_marker(head_.load(std::memory_order_relaxed)); }

    /// Consumer: calls `visit(work&)` with what was pushed, oldest first, at most `limit` of it. Not while parked or closed.
    template <class Visit>
    void take(std::size_t limit, Visit visit) noexcept {
        // Also if there is something left: to turn what has come since the last time round takes a moment, and all of a
        // million a tenth of a second.
        if (node* const newest = head_.load(std::memory_order_relaxed) == nullptr
                                     ? nullptr
                                     : head_.exchange(nullptr, std::memory_order_acquire)) {
            (taken_ != nullptr ? newest_taken_->next_ : taken_) = oldest_first(newest);
            newest_taken_ = newest;
        }
        for (; limit != 0 && taken_ != nullptr; --limit) visit(pop(taken_));
    }

    /// Any thread, while a lock keeps the consumer from take(): calls `visit(work&)` with all that it has not taken. Leaves a
    /// queue that is parked or closed as it is. `visit_pushed` must push again what it gets.
    template <class Visit, class VisitPushed>
    void visit_all(Visit visit, VisitPushed visit_pushed) noexcept {
        for (node* n = taken_; n != nullptr; n = n->next_) visit(static_cast<work&>(*n));
        node* head = head_.load(std::memory_order_seq_cst);
        do {
            if (is_marker(head)) return;
        } while (!head_.compare_exchange_weak(head, nullptr, std::memory_order_acquire, std::memory_order_relaxed));
        for (node* n = oldest_first(head); n != nullptr;) visit_pushed(pop(n));
    }

    /// Consumer: from now on a producer must wake me. False if there is something to take.
    bool park() noexcept { return taken_ == nullptr && replace(nullptr, &parked_); }
    void unpark() noexcept { replace(&parked_, nullptr); }

    /// Consumer: from now on nothing can be pushed. False if there is something to take.
    bool close() noexcept { return taken_ == nullptr && replace(nullptr, &closed_); }

private:
    static bool is_marker(const node* head) noexcept { return head == nullptr || head == &parked_ || head == &closed_; }
    bool replace(node* from, node* to) noexcept {
        return head_.compare_exchange_strong(from, to, std::memory_order_acq_rel, std::memory_order_relaxed);
    }
    static node* oldest_first(node* newest) noexcept {
        node* oldest = nullptr;
        while (newest != nullptr) oldest = std::exchange(newest, std::exchange(newest->next_, oldest));
        return oldest;
    }
    static work& pop(node*& first) noexcept { return static_cast<work&>(*std::exchange(first, first->next_)); }

    static inline constinit node parked_{}, closed_{};  // only their addresses count
    std::atomic<node*> head_{nullptr};                  // newest first
    node* taken_ = nullptr;                             // by the consumer, oldest first, and not yet visited
    node* newest_taken_ = nullptr;                      // valid while there are such
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
