#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace support {

// The waits below use the system clock because the ThreadSanitizer of GCC 11 does not know pthread_cond_clockwait.

/// How long a test waits for an event that must come: only a defect makes it wait that long.
inline constexpr std::chrono::seconds patience{60};

/// Counts arrivals; anybody may wait for the n-th. Copies share one count, so that a task may outlive its test.
class arrivals {
public:
    void arrive() const {
        std::lock_guard lock(state_->mutex);
        ++state_->count;
        state_->changed.notify_all();
    }

    [[nodiscard]] std::size_t count() const {
        std::lock_guard lock(state_->mutex);
        return state_->count;
    }

    /// Blocks this thread until `n` have arrived. False if they did not within the time.
    [[nodiscard]] bool wait_for(std::size_t n, std::chrono::milliseconds limit = patience) const {
        std::unique_lock lock(state_->mutex);
        return state_->changed.wait_until(lock, std::chrono::system_clock::now() + limit,
                                          [&] { return state_->count >= n; });
    }

    /// The same for those who cannot use the answer.
    void wait(std::size_t n) const {
        if (!wait_for(n)) {
            throw std::runtime_error("an event that a test waits for did not come");
        }
    }

private:
    struct state {
        std::mutex mutex;
        std::condition_variable changed;
        std::size_t count = 0;
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// Closed until somebody opens it, then open for ever. Copies are the same gate. wait() blocks the calling thread.
class gate {
public:
    void open() const { arrivals_.arrive(); }
    [[nodiscard]] bool is_open() const { return arrivals_.count() != 0; }
    [[nodiscard]] bool wait_for(std::chrono::milliseconds limit) const { return arrivals_.wait_for(1, limit); }
    void wait() const { arrivals_.wait(1); }

private:
    arrivals arrivals_;
};

/// Opens a gate at the end of a scope, so that a failed check leaves no thread blocked.
class opens_at_exit {
public:
    explicit opens_at_exit(gate g) : gate_(std::move(g)) {}
    opens_at_exit(const opens_at_exit&) = delete;
    opens_at_exit& operator=(const opens_at_exit&) = delete;
    ~opens_at_exit() { gate_.open(); }

private:
    gate gate_;
};

}  // namespace support
