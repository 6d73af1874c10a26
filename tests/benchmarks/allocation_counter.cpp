// Preloaded into a benchmark, it counts what the process takes from malloc; `operator new` ends there too. The programs
// find the figures with dlsym, so that nothing slows them down when it is not preloaded.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <dlfcn.h>
#include <malloc.h>

namespace {

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> live_bytes{0};
std::atomic<std::uint64_t> peak_bytes{0};

constexpr std::size_t chunk_header = 8;

void* counted(void* memory) {
    if (memory == nullptr) return nullptr;
    allocations.fetch_add(1, std::memory_order_relaxed);
    auto size = malloc_usable_size(memory) + chunk_header;
    auto live = live_bytes.fetch_add(size, std::memory_order_relaxed) + size;
    auto peak = peak_bytes.load(std::memory_order_relaxed);
    while (live > peak && !peak_bytes.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
    return memory;
}

void forgotten(void* memory) {
    if (memory != nullptr) live_bytes.fetch_sub(malloc_usable_size(memory) + chunk_header, std::memory_order_relaxed);
}

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) { return counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return counted(__libc_calloc(count, size)); }
void* memalign(std::size_t alignment, std::size_t size) { return counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
    *memory = memalign(alignment, size);
    return *memory == nullptr ? ENOMEM : 0;
}

void* realloc(void* memory, std::size_t size) {
    forgotten(memory);
    return counted(__libc_realloc(memory, size));
}

void free(void* memory) {
    forgotten(memory);
    __libc_free(memory);
}

std::uint64_t benchmark_allocations() { return allocations.load(); }
std::uint64_t benchmark_live_bytes() { return live_bytes.load(); }
std::uint64_t benchmark_peak_bytes() { return peak_bytes.load(); }
}
