#pragma once

#include "worker.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

namespace sincpro {

namespace detail {

/// Makes the default worker at its first use. It is never destroyed, so that a call in a destructor that runs at exit finds
/// it, closed. Not a local static: the child of a fork in another thread would wait for ever for its initialization.
class default_worker_owner {
public:
    static worker& get() {
        if (worker* const w = made_.load(std::memory_order_acquire)) return *w;  // pairs with the store below
        const std::lock_guard lock(survives_fork<worker>::creation());
        if (made_.load(std::memory_order_relaxed) == nullptr) {
            worker* const w = ::new (static_cast<void*>(storage_)) worker;
            if (std::atexit(&default_worker_owner::close) != 0) {
                w->~worker();
                throw std::bad_alloc();
            }
            made_.store(w, std::memory_order_release);
        }
        return *made_.load(std::memory_order_relaxed);
    }

private:
    static void close() noexcept {
        survives_fork<worker>::creation().lock();  // another thread may have registered this and not stored it yet
        survives_fork<worker>::creation().unlock();
        made_.load(std::memory_order_relaxed)->close_at_exit();
    }

    alignas(worker) static inline unsigned char storage_[sizeof(worker)];
    static inline constinit std::atomic<worker*> made_{nullptr};
};

}  // namespace detail

/// The worker of the free functions. At exit it is shut down before what was constructed before its first use is destroyed;
/// a call after that throws worker_stopped.
inline worker& default_worker() { return detail::default_worker_owner::get(); }

}  // namespace sincpro
