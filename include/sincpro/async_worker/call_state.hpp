#pragma once

#include "cancellation.hpp"
#include "frame_pool.hpp"

#include <atomic>
#include <type_traits>
#include <utility>

namespace sincpro::detail {

/// Shares a reference-counted T; its `hold()` and `drop()` count. Small, and can be let go of.
template <class T>
class counted_ptr {
public:
    counted_ptr() noexcept = default;
    explicit counted_ptr(T* p) noexcept : p_(p) {}  // takes over one reference
    template <class D>
    counted_ptr(counted_ptr<D> other) noexcept requires std::is_convertible_v<D*, T*> : p_(other.release()) {}
    counted_ptr(const counted_ptr& other) noexcept : p_(other.p_) {
        if (p_ != nullptr) p_->hold();
    }
    counted_ptr(counted_ptr&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
    counted_ptr& operator=(counted_ptr other) noexcept {
        std::swap(p_, other.p_);
        return *this;
    }
    ~counted_ptr() {
        if (p_ != nullptr) p_->drop();
    }

    T* get() const noexcept { return p_; }
    T* operator->() const noexcept { return p_; }
    T& operator*() const noexcept { return *p_; }
    T* release() noexcept { return std::exchange(p_, nullptr); }
    explicit operator bool() const noexcept { return p_ != nullptr; }

private:
    T* p_ = nullptr;
};

/// Who decided how a call ends: whoever sets it first.
enum class claim : unsigned char { open, result, deadline, shutdown };

/// How far a call is: `published` when the outcome is where its caller finds it, and the worker has destroyed all of the
/// task; `awaited` while a caller sleeps, `abandoned` if it has gone; `orphaned` in the child of a fork, where nobody goes on
/// with the task, and what its worker was about to do with the promise may be half done.
enum class phase : unsigned char { pending, awaited, abandoned, published, orphaned };

/// What a caller and the worker share of one call, and all that is left of it while a future is kept.
class call_state : public work, public recycled {
public:
    call_state() noexcept : work(&call_state::cancel_now) {}
    call_state(const call_state&) = delete;
    call_state& operator=(const call_state&) = delete;

    void hold() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop() noexcept {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    /// True for one only.
    bool try_claim(claim by) noexcept {
        claim open = claim::open;
        return claimed_by.compare_exchange_strong(open, by, std::memory_order_acq_rel);
    }

    /// True for one only of those that write the outcome, for which a caller whose deadline has passed waits as well.
    bool try_claim_outcome(claim by) noexcept {
        claim deadline = claim::deadline;
        return try_claim(by) || claimed_by.compare_exchange_strong(deadline, by, std::memory_order_acq_rel);
    }

    /// Any thread, any number of times: cancels the task soon, if it has not ended.
    void request_cancel() noexcept {
        if (cancel_requested.exchange(true, std::memory_order_acq_rel)) return;
        hold();
        if (!loop->post(*this)) drop();
    }

    bool published() const noexcept { return at.load(std::memory_order_acquire) == phase::published; }
    bool orphaned() const noexcept { return at.load(std::memory_order_relaxed) == phase::orphaned; }

    counted_ptr<executor> loop;
    job* root = nullptr;  // while it is in the registry, by whose lock it is guarded; the loop's thread reads without
    std::atomic<claim> claimed_by{claim::open};
    std::atomic<bool> cancel_requested{false};
    std::atomic<phase> at{phase::pending};
    std::atomic<bool> fate_shared{false};  // by one of {the future was dropped, an exception is in it}
    bool blocks_caller = false;            // inside run()
    bool blocks_main_thread = false;

protected:
    virtual ~call_state() = default;

private:
    static void cancel_now(work& w) noexcept {
        auto& self = static_cast<call_state&>(w);
        if (self.root != nullptr) cancel(*self.root);
        self.drop();
    }

    std::atomic<unsigned> references_{1};
};

}  // namespace sincpro::detail
