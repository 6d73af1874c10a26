#pragma once

#include "awaitable.hpp"
#include "detail/base/config.hpp"
#include "detail/base/intrusive_list.hpp"
#include "detail/coroutine/operation.hpp"

#include <coroutine>
#include <cstddef>
#include <mutex>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/loop/event_loop.hpp"
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

/// Lets at most `n` tasks at a time hold a permit, those of several workers too; first come, first served.
/// It must outlive its permits and those who wait. In the child of a fork use a new one.
/// (asyncio.Semaphore, std::counting_semaphore)
class semaphore {
    class acquire_operation;

public:
    /// One of the n, as RAII: moved, not copied, and given back by its destructor, on any thread.
    class [[nodiscard]] permit {
    public:
        /// `other` holds none afterwards.
        permit(permit&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
        /// The one that was held is given back.
        permit& operator=(permit&& other) noexcept {
            if (this != &other) {
                release();
                of_ = std::exchange(other.of_, nullptr);
            }
            return *this;
        }
        ~permit() { release(); }

        /// Gives it back now.
        void release() noexcept {
            if (semaphore* const s = std::exchange(of_, nullptr)) s->release();
        }

    private:
        friend acquire_operation;
        explicit permit(semaphore& s) noexcept : of_(&s) {}
        semaphore* of_;
    };

    /// With none a task waits until it is cancelled.
    explicit semaphore(std::size_t n) noexcept : free_(n) {}
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    /// Waits for a permit. A cancelled wait holds none.
    [[nodiscard]] auto acquire() noexcept { return acquire_operation(*this); }

private:
    class acquire_operation final : public detail::operation, public detail::intrusive_list_node<acquire_operation> {
    public:
        explicit acquire_operation(semaphore& s) noexcept : of_(s) {}
        acquire_operation(const acquire_operation& other) noexcept
            : operation(other), detail::intrusive_list_node<acquire_operation>(other), of_(other.of_) {}
        ~acquire_operation();

        bool await_ready() const noexcept { return false; }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> h) {
            return !begin(h) || of_.enqueue(*this) || ready_at_once();
        }
        permit await_resume() {
            throw_if_cancelled();
            granted_ = false;
            return permit(of_);
        }
        SINCPRO_DETAIL_INLINE void cancel(detail::cancel_list&) noexcept override;

    private:
        friend semaphore;
        using in_queue = detail::intrusive_list_node<acquire_operation>;
        semaphore& of_;
        bool granted_ = false;  // under the semaphore's mutex until this is resumed
    };

    /// False if there was a permit at once.
    bool enqueue(acquire_operation& o) noexcept;
    /// False if it has a permit, or never waited.
    bool dequeue(acquire_operation& o) noexcept;
    void release() noexcept;

    std::mutex mutex_;
    std::size_t free_;
    detail::intrusive_list<acquire_operation> queue_;
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE semaphore::acquire_operation::~acquire_operation() {
    if (is_in_job()) of_.dequeue(*this);
    if (granted_) of_.release();
}

SINCPRO_DETAIL_INLINE void semaphore::acquire_operation::cancel(detail::cancel_list&) noexcept {
    if (of_.dequeue(*this)) complete_cancelled();
}

SINCPRO_DETAIL_INLINE bool semaphore::enqueue(acquire_operation& o) noexcept {
    const std::lock_guard lock(mutex_);
    o.granted_ = free_ != 0;
    if (o.granted_) {
        --free_;
    } else {
        queue_.push_back(o);
    }
    return !o.granted_;
}

SINCPRO_DETAIL_INLINE bool semaphore::dequeue(acquire_operation& o) noexcept {
    const std::lock_guard lock(mutex_);
    const bool waited = o.in_queue::is_linked();
    if (waited) o.in_queue::unlink();
    return waited;
}

SINCPRO_DETAIL_INLINE void semaphore::release() noexcept {
    const std::lock_guard lock(mutex_);
    while (!queue_.empty()) {
        acquire_operation& next = queue_.pop_front();
        next.granted_ = true;
        // Under the lock: a cancelled waiter that was granted stays until it is resumed. Its worker is gone in the child of
        // a fork.
        if (next.loop_->post(next)) return;
        next.granted_ = false;
    }
    ++free_;
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
