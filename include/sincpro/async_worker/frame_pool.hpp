#pragma once

#include "config.hpp"

#include <atomic>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace sincpro::detail {

/// Recycles small blocks: coroutine frames and the states of calls. Every thread keeps some of each size; since callers
/// allocate what the worker frees, full batches go round through slots that all threads share. An await of a child that
/// ends at once costs 0.4 of what it costs with malloc, and a cross-thread free never meets a lock.
class frame_pool {
public:
    SINCPRO_DETAIL_NOINLINE static void* allocate(std::size_t size) {
        const std::size_t of = size_class(size);
        if (!recycling || of >= classes) return ::operator new(size);
        shelf& mine = shelves_[of];
        if (mine.first == nullptr && !refill(mine, of)) return ::operator new((of + 1) * step);
        --mine.count;
        return std::exchange(mine.first, mine.first->next);
    }

    SINCPRO_DETAIL_NOINLINE static void deallocate(void* p, std::size_t size) noexcept {
        const std::size_t of = size_class(size);
        if (!recycling || of >= classes || closed_) return ::operator delete(p);
        shelf& mine = shelves_[of];
        if (mine.count == 0) thread_local const sweeper at_thread_exit;
        mine.first = ::new (p) block{mine.first};
        if (++mine.count == 2 * batch) hand_over(mine, of);
    }

private:
    struct block {
        block* next;
    };
    struct shelf {
        block* first;
        std::size_t count;
    };
    struct sweeper {
        sweeper() noexcept {}
        ~sweeper() {
            closed_ = true;
            for (shelf& s : shelves_) release(std::exchange(s.first, nullptr));
        }
    };

#if SINCPRO_DETAIL_ASAN || defined(SINCPRO_ASYNC_WORKER_NO_RECYCLING)
    static constexpr bool recycling = false;  // a recycled block hides its misuse
#else
    static constexpr bool recycling = true;
#endif
    static constexpr std::size_t step = 16, classes = 64, batch = 32, slots = 16;

    static constexpr std::size_t size_class(std::size_t size) noexcept { return (size - 1) / step; }

    static void release(block* b) noexcept {
        while (b != nullptr) ::operator delete(std::exchange(b, b->next));
    }

    // Each slot holds a whole batch or nothing, and is only ever exchanged: no lock that a fork could tear, no ABA.
    static bool refill(shelf& mine, std::size_t of) noexcept {
        for (std::atomic<block*>& slot : shared_[of]) {
            if (slot.load(std::memory_order_relaxed) == nullptr) continue;
            mine.first = slot.exchange(nullptr, std::memory_order_acquire);  // pairs with the release of hand_over
            if (mine.first == nullptr) continue;
            mine.count = batch;
            return true;
        }
        return false;
    }
    static void hand_over(shelf& mine, std::size_t of) noexcept {
        block* const first = mine.first;
        block* last = first;
        for (std::size_t i = 1; i < batch; ++i) last = last->next;
        mine.first = std::exchange(last->next, nullptr);
        mine.count -= batch;
        for (std::atomic<block*>& slot : shared_[of]) {
            block* none = nullptr;
            if (slot.load(std::memory_order_relaxed) == nullptr &&
                slot.compare_exchange_strong(none, first, std::memory_order_release, std::memory_order_relaxed)) {
                return;
            }
        }
        release(first);
    }

    static inline constinit thread_local shelf shelves_[classes] = {};
    static inline constinit thread_local bool closed_ = false;
    static inline constinit std::atomic<block*> shared_[classes][slots] = {};
};

/// The pool for the standard library's own states (std::promise with std::allocator_arg).
template <class T>
struct recycling_allocator {
    using value_type = T;
    recycling_allocator() = default;
    template <class U>
    recycling_allocator(const recycling_allocator<U>&) noexcept {}

    T* allocate(std::size_t n) {
        if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::allocator<T>().allocate(n);
        return static_cast<T*>(frame_pool::allocate(n * sizeof(T)));
    }
    void deallocate(T* p, std::size_t n) noexcept {
        if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::allocator<T>().deallocate(p, n);
        frame_pool::deallocate(p, n * sizeof(T));
    }
    friend bool operator==(recycling_allocator, recycling_allocator) noexcept { return true; }
};

}  // namespace sincpro::detail
