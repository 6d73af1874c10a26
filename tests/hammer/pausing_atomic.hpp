#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <pthread.h>

// Takes the place of <atomic> in a copy of the library's headers: what threads do between two accesses of atomics takes a
// random time, so that they meet in orders that are rare otherwise.

namespace hammer {

/// Where the library does not expect that a thread is cancelled.
inline void sleep(std::chrono::microseconds time) noexcept {
    int before = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    std::this_thread::sleep_for(time);
    ::pthread_setcancelstate(before, nullptr);
}

inline void pause() noexcept {
    static std::atomic<std::uint32_t> seeds{1};
    thread_local std::uint32_t random = 2654435769U * seeds.fetch_add(1, std::memory_order_relaxed) | 1U;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    switch (random % 256) {
        case 0: sleep(std::chrono::microseconds(random >> 8 & 63)); break;
        case 1:
        case 2:
        case 3: std::this_thread::yield(); break;
        case 4:
        case 5:
        case 6:
        case 7:
            for (std::uint32_t i = random >> 8 & 1023; i != 0; --i) std::atomic_signal_fence(std::memory_order_seq_cst);
            break;
        default: break;
    }
}

template <class T>
class atomic : public std::atomic<T> {
    using base = std::atomic<T>;

public:
    using base::base;
    using base::operator=;

    T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
        const around pauses;
        return base::load(order);
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        const around pauses;
        base::store(value, order);
    }
    T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        const around pauses;
        return base::exchange(value, order);
    }
    template <class... Orders>
    bool compare_exchange_weak(T& expected, T value, Orders... orders) noexcept {
        const around pauses;
        return base::compare_exchange_weak(expected, value, orders...);
    }
    template <class... Orders>
    bool compare_exchange_strong(T& expected, T value, Orders... orders) noexcept {
        const around pauses;
        return base::compare_exchange_strong(expected, value, orders...);
    }
    T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        const around pauses;
        return base::fetch_add(value, order);
    }
    T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        const around pauses;
        return base::fetch_sub(value, order);
    }

private:
    struct around {
        around() noexcept { pause(); }
        ~around() { pause(); }
    };
};

}  // namespace hammer
