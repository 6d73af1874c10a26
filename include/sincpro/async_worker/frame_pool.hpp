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
/// ends at once takes half the time that it takes with malloc, and a cross-thread free never meets a lock.
class frame_pool {
public:
    // The size is a constant where these are called, so what follows from it is too.
    static void* allocate(std::size_t size) {
        if (!recycling || size_class(size) >= classes) return ::operator new(size);
        return take(size_class(size));
    }
    static void deallocate(void* p, std::size_t size) noexcept {
        if (!recycling || size_class(size) >= classes) return ::operator delete(p);
        put(p, size_class(size));
    }

private:
    struct block {
        block* next;
        std::size_t height;  // of the pile that it is the top of
    };
    struct shelf {
        block* first;
        std::size_t limit;  // 0 until this thread has freed one, and again when it ends
    };
    struct sweeper {
        sweeper() noexcept {}
        ~sweeper() {
            closed_ = true;
            for (shelf& s : shelves_) release(std::exchange(s, shelf{}).first);
        }
    };

// A recycled block hides its misuse, and what a thread keeps would leak.
#if SINCPRO_DETAIL_ASAN || defined(SINCPRO_ASYNC_WORKER_NO_RECYCLING) || SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST
    static constexpr bool recycling = false;
#else
    static constexpr bool recycling = true;
#endif
    static constexpr std::size_t step = 16, classes = 64, batch = 32, slot_count = 16, kept_bytes = 128 * 1024;

    static constexpr std::size_t size_class(std::size_t size) noexcept { return (size - 1) / step; }

    SINCPRO_DETAIL_NOINLINE static void* take(std::size_t of) {
        shelf& mine = shelves_[of];
        block* const b = mine.first;
        if (b == nullptr) return take_elsewhere(of);
        mine.first = b->next;
        return b;
    }
    SINCPRO_DETAIL_NOINLINE static void put(void* p, std::size_t of) noexcept {
        shelf& mine = shelves_[of];
        block* const below = mine.first;
        const std::size_t height = below != nullptr ? below->height : 0;
        if (height >= mine.limit) return put_elsewhere(p, of);
        mine.first = ::new (p) block{below, height + 1};
    }

    SINCPRO_DETAIL_NOINLINE static void* take_elsewhere(std::size_t of) {
        if (closed_) return ::operator new((of + 1) * step);
        sweep_at_thread_exit();  // also a thread that never frees keeps the rest of a batch
        // Each slot holds a whole batch or nothing, and is only ever exchanged: no lock that a fork could tear, no ABA.
        for (std::atomic<block*>& slot : shared_[of]) {
            if (slot.load(std::memory_order_relaxed) == nullptr) continue;
            // Pairs with the release in hand_over().
            if (block* const b = slot.exchange(nullptr, std::memory_order_acquire)) {
                shelves_[of].first = b->next;
                return b;
            }
        }
        return ::operator new((of + 1) * step);
    }

    SINCPRO_DETAIL_NOINLINE static void put_elsewhere(void* p, std::size_t of) noexcept {
        if (closed_) return ::operator delete(p);
        sweep_at_thread_exit();
        shelf& mine = shelves_[of];
        if (mine.limit == 0) {
            mine.limit = kept_bytes / ((of + 1) * step);
        } else {
            hand_over(mine, of);
        }
        const std::size_t height = mine.first != nullptr ? mine.first->height : 0;
        mine.first = ::new (p) block{mine.first, height + 1};
    }

    static void sweep_at_thread_exit() noexcept { thread_local const sweeper at_thread_exit; }

    static void hand_over(shelf& mine, std::size_t of) noexcept {
        block* const first = mine.first;
        block* last = first;
        for (std::size_t height = batch; last->height = height, height != 1; --height) last = last->next;
        mine.first = std::exchange(last->next, nullptr);
        for (std::atomic<block*>& slot : shared_[of]) {
            block* none = nullptr;
            if (slot.load(std::memory_order_relaxed) == nullptr &&
                slot.compare_exchange_strong(none, first, std::memory_order_release, std::memory_order_relaxed)) {
                return;
            }
        }
        release(first);
    }

    static void release(block* b) noexcept {
        while (b != nullptr) ::operator delete(std::exchange(b, b->next));
    }

    static inline constinit thread_local shelf shelves_[classes] = {};
    static inline constinit thread_local bool closed_ = false;
    static inline constinit std::atomic<block*> shared_[classes][slot_count] = {};
};

/// Base of what the pool is for.
struct recycled {
    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
    static void operator delete(void* p, std::size_t size) noexcept { frame_pool::deallocate(p, size); }
    static void operator delete(void* p, std::size_t, std::align_val_t alignment) noexcept {
        ::operator delete(p, alignment);
    }
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
