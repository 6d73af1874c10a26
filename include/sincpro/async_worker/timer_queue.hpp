#pragma once

#include "duration.hpp"

#include <utility>

namespace sincpro::detail {

/// Something that is due at a time. Intrusive: its owner keeps it alive, and in place, while it is queued.
struct timer {
    using function = void (*)(timer&) noexcept;
    explicit timer(function f) noexcept : fire(f) {}

    bool queued() const noexcept { return back_ != nullptr; }

    clock::time_point due{};
    function fire;  // called when it is due, no longer queued

private:
    friend class timer_queue;
    timer* child_ = nullptr;
    timer* sibling_ = nullptr;
    timer* back_ = nullptr;  // older sibling, or parent of the eldest; itself at the root
    unsigned long long order_ = 0;
};

/// A pairing heap (Fredman et al. 1986): adding takes constant time and never allocates, so it cannot fail; removing
/// takes amortized log n. Timers that are due at the same time fire in the order of their adding.
class timer_queue {
public:
    bool empty() const noexcept { return root_ == nullptr; }
    clock::time_point earliest() const noexcept { return root_ != nullptr ? root_->due : clock::time_point::max(); }

    void add(timer& t) noexcept {
        t.child_ = t.sibling_ = nullptr;
        t.order_ = next_order_++;
        set_root(root_ == nullptr ? &t : meld(root_, &t));
    }

    void remove(timer& t) noexcept {
        if (&t == root_) {
            set_root(merge_children(t));
        } else {
            (t.back_->child_ == &t ? t.back_->child_ : t.back_->sibling_) = t.sibling_;
            if (t.sibling_ != nullptr) t.sibling_->back_ = t.back_;
            if (timer* const rest = merge_children(t)) set_root(meld(root_, rest));
        }
        t.back_ = nullptr;
    }

    /// Removes and fires all that is due at `now`.
    void fire_due(clock::time_point now) noexcept {
        while (root_ != nullptr && root_->due <= now) {
            timer& t = *root_;
            remove(t);
            t.fire(t);
        }
    }

private:
    static bool before(const timer& a, const timer& b) noexcept {
        return a.due != b.due ? a.due < b.due : a.order_ < b.order_;
    }

    void set_root(timer* t) noexcept {
        root_ = t;
        if (t != nullptr) t->back_ = t;
    }

    /// Makes the later of two roots the eldest child of the earlier.
    static timer* meld(timer* a, timer* b) noexcept {
        if (before(*b, *a)) std::swap(a, b);
        b->sibling_ = a->child_;
        if (b->sibling_ != nullptr) b->sibling_->back_ = b;
        b->back_ = a;
        a->child_ = b;
        return a;
    }

    /// Pairs from left to right, then melds the pairs from right to left.
    static timer* merge_children(timer& t) noexcept {
        timer* pairs = nullptr;
        for (timer* a = std::exchange(t.child_, nullptr); a != nullptr;) {
            timer* const b = std::exchange(a->sibling_, nullptr);
            timer* const rest = b != nullptr ? std::exchange(b->sibling_, nullptr) : nullptr;
            timer* const pair = b != nullptr ? meld(a, b) : a;
            pair->sibling_ = std::exchange(pairs, pair);
            a = rest;
        }
        timer* merged = nullptr;
        while (pairs != nullptr) {
            timer* const pair = std::exchange(pairs, pairs->sibling_);
            pair->sibling_ = nullptr;
            merged = merged != nullptr ? meld(merged, pair) : pair;
        }
        return merged;
    }

    timer* root_ = nullptr;
    unsigned long long next_order_ = 0;
};

}  // namespace sincpro::detail
