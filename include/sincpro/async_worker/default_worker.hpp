#pragma once

#include "worker.hpp"

#include <new>

namespace sincpro {

namespace detail {

/// Never destroyed, so that a call in a destructor that runs at exit finds it, closed.
class default_worker_owner {
public:
    default_worker_owner() { ::new (static_cast<void*>(storage_)) worker; }
    default_worker_owner(const default_worker_owner&) = delete;
    default_worker_owner& operator=(const default_worker_owner&) = delete;
    ~default_worker_owner() { get().close_at_exit(); }

    worker& get() noexcept { return *std::launder(reinterpret_cast<worker*>(storage_)); }

private:
    alignas(worker) unsigned char storage_[sizeof(worker)];
};

}  // namespace detail

/// The worker of the free functions. At exit it is shut down before what was constructed before its first use is destroyed;
/// a call after that throws worker_stopped.
inline worker& default_worker() {
    static detail::default_worker_owner owner;
    return owner.get();
}

}  // namespace sincpro
