#pragma once

#include "detail/base/config.hpp"
#include "detail/coroutine/as_task.hpp"
#include "task_future.hpp"
#include "worker.hpp"

#include <chrono>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/base/atfork_registry.hpp"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

/// The worker of the free functions. At exit it is shut down before what was constructed before its first use is destroyed;
/// a call after that throws worker_stopped.
worker& default_worker();

/// Runs a coroutine from ordinary code: hands `a` to the worker's thread, blocks until it has ended, and returns its result
/// or rethrows its exception, the same object. (asyncio.run_coroutine_threadsafe(...).result())
///
/// `a` is an awaitable of any library, or a callable without arguments that returns one, which is called on the worker
/// thread. It is moved, or copied if it is an lvalue, and destroyed on the worker thread before the result is there.
/// Throws std::system_error: resource_deadlock_would_occur on a worker's thread, where `a` is to be awaited instead;
/// resource_unavailable_try_again if no thread can be started. Throws operation_cancelled or worker_stopped when the
/// worker is shut down meanwhile.
template <class A>
auto run_async_task(A&& a) -> detail::task_result_t<A> {
    return default_worker().run(std::forward<A>(a));
}

/// The same with a time limit on the steady clock, which begins with the call. When it passes the task is cancelled; this
/// waits until it has ended, at most worker_options::cancel_grace, and throws timeout_error, which tells whether it has:
/// if not, what the task refers to must stay alive. With a limit of zero or less `a` is not started; a huge one is none.
/// Throws std::invalid_argument for NaN.
template <class A, class Rep, class Period>
auto run_async_task(A&& a, std::chrono::duration<Rep, Period> timeout) -> detail::task_result_t<A> {
    return default_worker().run(std::forward<A>(a), timeout);
}

/// Says of a time limit that is no duration what to write instead.
template <class A, class T>
    requires(!detail::is_duration<T>)
auto run_async_task(A&&, const T&) -> detail::misused::anything {
    detail::refuse_as_duration<T>();
    return {};
}

/// Starts `a` like run_async_task and returns at once. Also for tasks, on a worker's thread. The future may be dropped.
template <class A>
auto submit_async_task(A&& a) -> task_future<detail::task_result_t<A>> {
    return default_worker().submit(std::forward<A>(a));
}

#if SINCPRO_DETAIL_DEFINITIONS

namespace detail {

/// Makes the default worker at its first use. It is never destroyed, so that a call in a destructor that runs at exit finds
/// it, closed. Not a local static: the child of a fork in another thread would wait for ever for its initialization.
class default_worker_owner {
public:
    static worker& get() {
        if (worker* const w = made_.load(std::memory_order_acquire)) return *w;  // pairs with the store below
        const std::lock_guard lock(atfork_registry::creation());
        if (made_.load(std::memory_order_relaxed) == nullptr) {
            worker* const w = ::new (static_cast<void*>(storage_)) worker;
            if (std::atexit(&default_worker_owner::close) != 0) {
                w->worker::~worker();
                throw std::bad_alloc();
            }
            made_.store(w, std::memory_order_release);
        }
        return *made_.load(std::memory_order_relaxed);
    }

private:
    static void close() noexcept {
        atfork_registry::creation().lock();  // another thread may have registered this and not stored it yet
        atfork_registry::creation().unlock();
        made_.load(std::memory_order_relaxed)->close_at_exit();
    }

    alignas(worker) static inline unsigned char storage_[sizeof(worker)];
    static inline constinit std::atomic<worker*> made_{nullptr};
};

}  // namespace detail

SINCPRO_DETAIL_INLINE worker& default_worker() { return detail::default_worker_owner::get(); }

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
