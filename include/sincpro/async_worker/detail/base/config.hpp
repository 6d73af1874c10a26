#pragma once

/// The version: a new major one may change what programs rely on, a new minor one only adds.
#define SINCPRO_ASYNC_WORKER_VERSION_MAJOR 1
/// See SINCPRO_ASYNC_WORKER_VERSION_MAJOR.
#define SINCPRO_ASYNC_WORKER_VERSION_MINOR 0
/// Counts corrections.
#define SINCPRO_ASYNC_WORKER_VERSION_PATCH 0
/// 10000 * major + 100 * minor + patch, to be compared by `#if`.
#define SINCPRO_ASYNC_WORKER_VERSION                                                         \
    (SINCPRO_ASYNC_WORKER_VERSION_MAJOR * 10000 + SINCPRO_ASYNC_WORKER_VERSION_MINOR * 100 + \
     SINCPRO_ASYNC_WORKER_VERSION_PATCH)

#if defined(__GNUC__) && (__cplusplus < 202002L || !defined(__cpp_exceptions))
#error "Sincpro Async Worker needs C++20 and exceptions: compile with -std=c++20, without -fno-exceptions"
#endif

// What the library needs to know of the compiler. What it needs to know of the system is in thread, atfork_registry and
// the pollers.

// Header-only, or compiled once: whoever defines SINCPRO_ASYNC_WORKER_COMPILED sees only the interfaces and links to what
// sincpro/async_worker.cpp, compiled once, defines. The declaration of a virtual function says SINCPRO_DETAIL_INLINE too:
// else each file that includes the class would compile all that its table of virtual functions refers to.
#if !defined(SINCPRO_ASYNC_WORKER_COMPILED)
#define SINCPRO_DETAIL_DEFINITIONS 1
#define SINCPRO_DETAIL_INLINE inline
#else
#if !defined(SINCPRO_DETAIL_DEFINITIONS)
#define SINCPRO_DETAIL_DEFINITIONS 0
#endif
#define SINCPRO_DETAIL_INLINE
#endif

// For what is seldom run: compiled for size, which takes less of each file's compile time.
#if defined(__GNUC__)
#define SINCPRO_DETAIL_COLD [[gnu::cold]] SINCPRO_DETAIL_INLINE
#else
#define SINCPRO_DETAIL_COLD SINCPRO_DETAIL_INLINE
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SINCPRO_DETAIL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SINCPRO_DETAIL_ASAN 1
#endif
#endif
#ifndef SINCPRO_DETAIL_ASAN
#define SINCPRO_DETAIL_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define SINCPRO_DETAIL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SINCPRO_DETAIL_TSAN 1
#endif
#endif
#ifndef SINCPRO_DETAIL_TSAN
#define SINCPRO_DETAIL_TSAN 0
#endif

// MinGW frees thread-locals before their destructors have run.
#if defined(__MINGW32__)
#define SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST 1
#else
#define SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST 0
#endif

// A recycled block hides its misuse from AddressSanitizer, and what a thread keeps must be freed when the thread ends.
#if SINCPRO_DETAIL_ASAN || defined(SINCPRO_ASYNC_WORKER_NO_RECYCLING) || SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST
#define SINCPRO_DETAIL_RECYCLING 0
#else
#define SINCPRO_DETAIL_RECYCLING 1
#endif

// GCC 11 and 12 destroy a closure twice that is a temporary inside a co_await expression (GCC bug 99576).
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define SINCPRO_DETAIL_CLOSURES_DIE_TWICE 1
#else
#define SINCPRO_DETAIL_CLOSURES_DIE_TWICE 0
#endif

// A thread-local's address, and what await_suspend reads after it has published its handle, must not be carried across
// a suspension: clang before 17 does that to functions that it inlines.
#if defined(__GNUC__)
#define SINCPRO_DETAIL_NOINLINE [[gnu::noinline]]
#elif defined(_MSC_VER)
#define SINCPRO_DETAIL_NOINLINE __declspec(noinline)
#else
#define SINCPRO_DETAIL_NOINLINE
#endif

// Both functions of a frame's memory are compiled where its coroutine is: another unit may align frames otherwise.
#if defined(__GNUC__)
#define SINCPRO_DETAIL_ALWAYS_INLINE [[gnu::always_inline]]
#else
#define SINCPRO_DETAIL_ALWAYS_INLINE
#endif

// GCC and clang let a local that needs more alignment than operator new gives stand anywhere in a frame (GCC bug 104177), but
// for clang with -fcoro-aligned-allocation. So frames are aligned for the widest vector register of the target, or for all
// that SINCPRO_ASYNC_WORKER_FRAME_ALIGNMENT, a power of two, says.
#if defined(SINCPRO_ASYNC_WORKER_FRAME_ALIGNMENT)
#define SINCPRO_DETAIL_FRAME_ALIGNMENT SINCPRO_ASYNC_WORKER_FRAME_ALIGNMENT
#elif defined(__AVX512F__)
#define SINCPRO_DETAIL_FRAME_ALIGNMENT 64
#elif defined(__AVX__)
#define SINCPRO_DETAIL_FRAME_ALIGNMENT 32
#else
#define SINCPRO_DETAIL_FRAME_ALIGNMENT __STDCPP_DEFAULT_NEW_ALIGNMENT__
#endif

// One for a program and its shared libraries, also when they hide their symbols: what a thread does they must agree on.
#if defined(__GNUC__) && defined(__ELF__)
#define SINCPRO_DETAIL_SHARED [[gnu::visibility("default")]]
#else
#define SINCPRO_DETAIL_SHARED
#endif

// The inline namespace that everything is in: v1_0_0_header_only, for example. Units that differ in what changes the
// layout or the meaning of a symbol do not share symbols, so each works by itself, also in one process.
#define SINCPRO_DETAIL_JOIN(major, minor, patch, mode) v##major##_##minor##_##patch##_##mode
#define SINCPRO_DETAIL_JOIN_EXPANDED(major, minor, patch, mode) SINCPRO_DETAIL_JOIN(major, minor, patch, mode)
#if defined(SINCPRO_ASYNC_WORKER_COMPILED)
#define SINCPRO_DETAIL_MODE compiled  // whatever that library was compiled with is its own affair
#elif SINCPRO_DETAIL_ASAN
#define SINCPRO_DETAIL_MODE address_sanitizer
#elif SINCPRO_DETAIL_TSAN
#define SINCPRO_DETAIL_MODE thread_sanitizer
#elif !SINCPRO_DETAIL_RECYCLING
#define SINCPRO_DETAIL_MODE no_recycling
#elif defined(SINCPRO_ASYNC_WORKER_USE_POLL)
#define SINCPRO_DETAIL_MODE use_poll
#else
#define SINCPRO_DETAIL_MODE header_only
#endif
#define SINCPRO_DETAIL_VERSION                                                                           \
    SINCPRO_DETAIL_JOIN_EXPANDED(SINCPRO_ASYNC_WORKER_VERSION_MAJOR, SINCPRO_ASYNC_WORKER_VERSION_MINOR, \
                                 SINCPRO_ASYNC_WORKER_VERSION_PATCH, SINCPRO_DETAIL_MODE)

#if SINCPRO_DETAIL_TSAN
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// For the time of its life ThreadSanitizer sees no access of this thread. Needed where the worker may free an exception
/// that a caller has read: libstdc++ counts its references in code that ThreadSanitizer does not see.
struct tsan_ignore_scope {
#if SINCPRO_DETAIL_TSAN
    tsan_ignore_scope() {
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    }
    ~tsan_ignore_scope() {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
#else
    tsan_ignore_scope() {}
#endif
    tsan_ignore_scope(const tsan_ignore_scope&) = delete;
    tsan_ignore_scope& operator=(const tsan_ignore_scope&) = delete;
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
