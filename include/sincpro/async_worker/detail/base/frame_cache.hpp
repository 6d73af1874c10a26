#pragma once

#include "config.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if SINCPRO_DETAIL_DEFINITIONS
#include <atomic>
#include <utility>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Recycles small blocks: coroutine frames and the states of calls. Every thread keeps a stack of free blocks of each size;
/// since callers allocate what the worker frees, full batches go round through slots that all threads share. An await of a
/// child that ends at once takes half the time that it takes with malloc, and freeing on another thread takes no lock.
class frame_cache {
public:
    static void* allocate(std::size_t size);
    static void deallocate(void* p, std::size_t size) noexcept;

    /// Stands in the main function of a thread of the library's own and frees at its end what the thread keeps. Other threads
    /// register a destructor, for which they need the lock of the loader: that of a thread which is waiting for the worker
    /// while it loads a library.
    class thread_scope {
    public:
        thread_scope() noexcept;
        thread_scope(const thread_scope&) = delete;
        thread_scope& operator=(const thread_scope&) = delete;
        ~thread_scope();
    };

#if SINCPRO_DETAIL_DEFINITIONS
private:
    struct block {
        block* next;
    };
    struct stack {
        block* top;
        unsigned size;
        unsigned capacity;  // 0 until this thread has freed a block, and again when the thread ends
    };
    struct sweeper {
        sweeper() noexcept {}
        ~sweeper() { sweep(); }
    };
    static constexpr bool recycling = SINCPRO_DETAIL_RECYCLING;
    static constexpr std::size_t step = 16, classes = 64, slot_count = 16, bytes_kept = 128 * 1024;
    static constexpr unsigned batch = 32;

    static constexpr std::size_t size_class(std::size_t size) noexcept { return (size - 1) / step; }
    static void* pop(std::size_t of);
    static void push(void* p, std::size_t of) noexcept;
    static void* pop_from_shared(std::size_t of);
    static void push_after_making_room(void* p, std::size_t of) noexcept;
    static void share_batch(stack& full, std::size_t of) noexcept;
    static void sweep_at_thread_exit() noexcept {
        if (!has_scope_) thread_local const sweeper at_thread_exit;
    }
    static void sweep() noexcept;
    static void free_all(block* b) noexcept;

    static inline constinit thread_local stack stacks_[classes] = {};
    static inline constinit thread_local bool has_scope_ = false, thread_ends_ = false;
    static inline constinit std::atomic<block*> shared_[classes][slot_count] =
        {};  // each holds a whole batch or nothing
#endif
};

/// Memory for frames, recycled. No compiler tells where in a frame the most aligned local stands, so the frame as a whole is
/// aligned: operator new gives less than vector registers need.
template <std::size_t Alignment>
struct aligned_frame {
    static constexpr std::size_t given = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
    static constexpr std::size_t more =
        Alignment > given ? Alignment - given + 1 : 0;  // the last byte: how far it moved

    static void* allocate(std::size_t size) {
        void* const p = frame_cache::allocate(size + more);
        if constexpr (more == 0) return p;
        const auto moved = static_cast<unsigned>(-reinterpret_cast<std::uintptr_t>(p) % Alignment);
        auto* const frame = static_cast<unsigned char*>(p) + moved;
        frame[size] = static_cast<unsigned char>(moved / given);
        return frame;
    }
    static void deallocate(void* p, std::size_t size) noexcept {
        if constexpr (more != 0) {
            auto* const frame = static_cast<unsigned char*>(p);
            p = frame - frame[size] * given;
        }
        frame_cache::deallocate(p, size + more);
    }
};

/// Base of a promise whose members need this alignment.
template <std::size_t OfPromise, bool OverAligned = (OfPromise > SINCPRO_DETAIL_FRAME_ALIGNMENT)>
struct frame_memory {
    using memory = aligned_frame<SINCPRO_DETAIL_FRAME_ALIGNMENT>;
    SINCPRO_DETAIL_ALWAYS_INLINE static void* operator new(std::size_t size) { return memory::allocate(size); }
    SINCPRO_DETAIL_ALWAYS_INLINE static void operator delete(void* p, std::size_t size) noexcept {
        memory::deallocate(p, size);
    }
    // Clang calls these with -fcoro-aligned-allocation, for all frames.
    SINCPRO_DETAIL_ALWAYS_INLINE static void* operator new(std::size_t size, std::align_val_t needed) {
        return is_given(needed) ? memory::allocate(size) : ::operator new(size, needed);
    }
    SINCPRO_DETAIL_ALWAYS_INLINE static void operator delete(void* p, std::size_t size,
                                                             std::align_val_t needed) noexcept {
        is_given(needed) ? memory::deallocate(p, size) : ::operator delete(p, needed);
    }
    static constexpr bool is_given(std::align_val_t needed) noexcept {
        return static_cast<std::size_t>(needed) <= SINCPRO_DETAIL_FRAME_ALIGNMENT;
    }
};
/// Without those, which clang would call wrongly for the frame of such a promise.
template <std::size_t OfPromise>
struct frame_memory<OfPromise, true> {
    SINCPRO_DETAIL_ALWAYS_INLINE static void* operator new(std::size_t size) {
        return aligned_frame<OfPromise>::allocate(size);
    }
    SINCPRO_DETAIL_ALWAYS_INLINE static void operator delete(void* p, std::size_t size) noexcept {
        aligned_frame<OfPromise>::deallocate(p, size);
    }
};

/// Base of what is recycled.
struct recycled {
    static void* operator new(std::size_t size) { return frame_cache::allocate(size); }
    static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
    static void operator delete(void* p, std::size_t size) noexcept { frame_cache::deallocate(p, size); }
    static void operator delete(void* p, std::size_t, std::align_val_t alignment) noexcept {
        ::operator delete(p, alignment);
    }
};

/// Recycles the standard library's own states (std::promise with std::allocator_arg).
template <class T>
struct recycling_allocator {
    using value_type = T;
    recycling_allocator() = default;
    template <class U>
    recycling_allocator(const recycling_allocator<U>&) noexcept {}

    T* allocate(std::size_t n) {
        if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::allocator<T>().allocate(n);
        return static_cast<T*>(frame_cache::allocate(n * sizeof(T)));
    }
    void deallocate(T* p, std::size_t n) noexcept {
        if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::allocator<T>().deallocate(p, n);
        frame_cache::deallocate(p, n * sizeof(T));
    }
    friend bool operator==(recycling_allocator, recycling_allocator) noexcept { return true; }
};

#if SINCPRO_DETAIL_DEFINITIONS

// The size is mostly a constant where these two are inlined, so what follows from it is one too.
SINCPRO_DETAIL_INLINE void* frame_cache::allocate(std::size_t size) {
    if (!recycling || size_class(size) >= classes) return ::operator new(size);
    return pop(size_class(size));
}
SINCPRO_DETAIL_INLINE void frame_cache::deallocate(void* p, std::size_t size) noexcept {
    if (!recycling || size_class(size) >= classes) return ::operator delete(p);
    push(p, size_class(size));
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void* frame_cache::pop(std::size_t of) {
    stack& mine = stacks_[of];
    block* const b = mine.top;
    if (b == nullptr) return pop_from_shared(of);
    mine.top = b->next;
    --mine.size;
    return b;
}
SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void frame_cache::push(void* p, std::size_t of) noexcept {
    stack& mine = stacks_[of];
    if (mine.size >= mine.capacity) return push_after_making_room(p, of);
    mine.top = ::new (p) block{mine.top};
    ++mine.size;
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void* frame_cache::pop_from_shared(std::size_t of) {
    if (thread_ends_) return ::operator new((of + 1) * step);
    sweep_at_thread_exit();  // a thread that never frees keeps the rest of a batch, too
    // A slot is only ever exchanged as a whole: there is no lock that a fork could tear, and no ABA problem.
    for (std::atomic<block*>& slot : shared_[of]) {
        if (slot.load(std::memory_order_relaxed) == nullptr) continue;
        // Pairs with the release in share_batch().
        if (block* const b = slot.exchange(nullptr, std::memory_order_acquire)) {
            stacks_[of].top = b->next;
            stacks_[of].size = batch - 1;
            return b;
        }
    }
    return ::operator new((of + 1) * step);
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void frame_cache::push_after_making_room(void* p,
                                                                                       std::size_t of) noexcept {
    if (thread_ends_) return ::operator delete(p);
    sweep_at_thread_exit();
    stack& mine = stacks_[of];
    if (mine.capacity == 0) mine.capacity = static_cast<unsigned>(bytes_kept / ((of + 1) * step));
    if (mine.size >= mine.capacity) share_batch(mine, of);
    mine.top = ::new (p) block{mine.top};
    ++mine.size;
}

SINCPRO_DETAIL_INLINE void frame_cache::share_batch(stack& full, std::size_t of) noexcept {
    block* const first = full.top;
    block* last = first;
    for (unsigned i = 1; i < batch; ++i) last = last->next;
    full.top = std::exchange(last->next, nullptr);
    full.size -= batch;
    for (std::atomic<block*>& slot : shared_[of]) {
        block* none = nullptr;
        if (slot.load(std::memory_order_relaxed) == nullptr &&
            slot.compare_exchange_strong(none, first, std::memory_order_release, std::memory_order_relaxed)) {
            return;
        }
    }
    free_all(first);
}

SINCPRO_DETAIL_INLINE void frame_cache::sweep() noexcept {
    thread_ends_ = true;
    for (stack& s : stacks_) free_all(std::exchange(s, stack{}).top);
}

SINCPRO_DETAIL_INLINE frame_cache::thread_scope::thread_scope() noexcept { has_scope_ = true; }
SINCPRO_DETAIL_INLINE frame_cache::thread_scope::~thread_scope() { sweep(); }

SINCPRO_DETAIL_INLINE void frame_cache::free_all(block* b) noexcept {
    while (b != nullptr) ::operator delete(std::exchange(b, b->next));
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
