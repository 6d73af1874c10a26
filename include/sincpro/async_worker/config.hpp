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

// What the library needs to know of the compiler; what it needs to know of the system is in poller and thread_setup.

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

// GCC 11 and 12 destroy a closure twice that is a temporary inside a co_await expression (GCC bug 99576).
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define SINCPRO_DETAIL_CLOSURES_DIE_TWICE 1
#else
#define SINCPRO_DETAIL_CLOSURES_DIE_TWICE 0
#endif

// MinGW frees thread-locals before their destructors have run.
#if defined(__MINGW32__)
#define SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST 1
#else
#define SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST 0
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

// One for a program and its shared libraries, also when they hide their symbols: what a thread does they must agree on.
#if defined(__GNUC__) && defined(__ELF__)
#define SINCPRO_DETAIL_SHARED [[gnu::visibility("default")]]
#else
#define SINCPRO_DETAIL_SHARED
#endif

#if SINCPRO_DETAIL_TSAN
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace sincpro::detail {

/// Where the worker may free an exception that a caller has read: libstdc++ counts its references in code that
/// ThreadSanitizer does not see, which it then reports as a race.
struct unseen_by_thread_sanitizer {
#if SINCPRO_DETAIL_TSAN
    unseen_by_thread_sanitizer() {
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
    }
    ~unseen_by_thread_sanitizer() {
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    }
#else
    unseen_by_thread_sanitizer() {}
#endif
    unseen_by_thread_sanitizer(const unseen_by_thread_sanitizer&) = delete;
    unseen_by_thread_sanitizer& operator=(const unseen_by_thread_sanitizer&) = delete;
};

}  // namespace sincpro::detail
