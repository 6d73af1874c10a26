#pragma once

// operator new and delete of the whole process, counted, and made to fail. For one file of a program.

#include <sincpro/async_worker/detail/base/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "faults.hpp"

namespace support {

inline fault allocation;
inline std::atomic<long> made{0};
inline std::atomic<long> alive{0};

}  // namespace support

// Not inlined, so that no compiler sees a malloc meet a delete.
#if defined(__GNUC__)
#define NOT_INLINED [[gnu::noinline]]
#else
#define NOT_INLINED
#endif

NOT_INLINED void* operator new(std::size_t size) {
    void* const p = support::allocation.strikes() ? nullptr : std::malloc(size != 0 ? size : 1);
    if (p == nullptr) throw std::bad_alloc();
    support::made.fetch_add(1, std::memory_order_relaxed);
    support::alive.fetch_add(1, std::memory_order_relaxed);
    return p;
}
// The sanitizer's own would not come here.
NOT_INLINED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    try {
        return operator new(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
#if SINCPRO_DETAIL_ASAN
// Not all forms of new are counted, and those that are not are the sanitizer's own.
extern "C" const char* __asan_default_options() { return "alloc_dealloc_mismatch=0"; }
#endif
NOT_INLINED void operator delete(void* p) noexcept {
    if (p != nullptr) support::alive.fetch_sub(1, std::memory_order_relaxed);
    std::free(p);
}
NOT_INLINED void operator delete(void* p, std::size_t) noexcept { operator delete(p); }
NOT_INLINED void operator delete(void* p, const std::nothrow_t&) noexcept { operator delete(p); }
