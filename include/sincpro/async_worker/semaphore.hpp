#pragma once

#include "awaitable.hpp"
#include "cancellation.hpp"

#include <coroutine>
#include <cstddef>
#include <mutex>
#include <utility>

namespace sincpro {

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
    class acquire_operation final : public detail::operation {
    public:
        explicit acquire_operation(semaphore& s) noexcept : of_(s) {}
        acquire_operation(const acquire_operation& other) noexcept : operation(other), of_(other.of_) {}
        ~acquire_operation() {
            if (linked_) of_.leave(*this);
            if (granted_) of_.release();
        }

        bool await_ready() const noexcept { return false; }
        template <class Promise>
        bool await_suspend(std::coroutine_handle<Promise> h) {
            if (!begin(h) || of_.enqueue(*this)) return true;
            unlink();
            return false;
        }
        permit await_resume() {
            throw_if_cancelled();
            granted_ = false;
            return permit(of_);
        }
        void cancel(detail::cancel_list&) noexcept override {
            if (of_.leave(*this)) complete_cancelled();
        }

    private:
        friend semaphore;
        semaphore& of_;
        acquire_operation *before_ = nullptr, *after_ = nullptr;
        bool waits_ = false, granted_ = false;  // under the semaphore's mutex until this is resumed
    };

    /// False if there was a permit at once.
    bool enqueue(acquire_operation& o) noexcept {
        const std::lock_guard lock(mutex_);
        if (free_ != 0) {
            --free_;
            o.granted_ = true;
            return false;
        }
        o.waits_ = true;
        o.before_ = last_;
        (last_ != nullptr ? last_->after_ : first_) = &o;
        last_ = &o;
        return true;
    }

    /// False if it has a permit, or never waited.
    bool leave(acquire_operation& o) noexcept {
        const std::lock_guard lock(mutex_);
        return unlink(o);
    }

    void release() noexcept {
        const std::lock_guard lock(mutex_);
        while (first_ != nullptr) {
            acquire_operation& next = *first_;
            unlink(next);
            next.granted_ = true;
            // Under the lock: a cancelled waiter that was granted stays until it is resumed. Its worker is gone in the
            // child of a fork.
            if (next.loop_->post(next)) return;
            next.granted_ = false;
        }
        ++free_;
    }

    bool unlink(acquire_operation& o) noexcept {
        if (!std::exchange(o.waits_, false)) return false;
        (o.before_ != nullptr ? o.before_->after_ : first_) = o.after_;
        (o.after_ != nullptr ? o.after_->before_ : last_) = o.before_;
        o.before_ = o.after_ = nullptr;
        return true;
    }

    std::mutex mutex_;
    std::size_t free_;
    acquire_operation *first_ = nullptr, *last_ = nullptr;
};

}  // namespace sincpro
