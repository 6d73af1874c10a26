#pragma once

#include "default_worker.hpp"

#include <utility>

namespace sincpro {

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
template <class A, class Duration>
auto run_async_task(A&& a, Duration timeout) -> detail::task_result_t<A> {
    return default_worker().run(std::forward<A>(a), timeout);
}

/// Starts `a` like run_async_task and returns at once. Also for tasks, on a worker's thread.
template <class A>
[[nodiscard]] auto submit_async_task(A&& a) -> task_future<detail::task_result_t<A>> {
    return default_worker().submit(std::forward<A>(a));
}

}  // namespace sincpro
