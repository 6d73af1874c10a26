#pragma once

// Sincpro Async Worker: calls coroutines from ordinary code. All that most programs need is sincpro::run_async_task.

#if defined(__GNUC__) && (__cplusplus < 202002L || !defined(__cpp_exceptions))
#error "Sincpro Async Worker needs C++20 and exceptions: compile with -std=c++20, without -fno-exceptions"
#else

#include "async_worker/as_result.hpp"
#include "async_worker/await_callback.hpp"
#include "async_worker/awaitable.hpp"
#include "async_worker/cancellation.hpp"
#include "async_worker/errors.hpp"
#include "async_worker/result.hpp"
#include "async_worker/run_async_task.hpp"
#include "async_worker/semaphore.hpp"
#include "async_worker/shield.hpp"
#include "async_worker/sleep_for.hpp"
#include "async_worker/stop_when.hpp"
#include "async_worker/task.hpp"
#include "async_worker/task_future.hpp"
#include "async_worker/to_thread.hpp"
#include "async_worker/wait_fd.hpp"
#include "async_worker/when_all.hpp"
#include "async_worker/when_any.hpp"
#include "async_worker/with_timeout.hpp"
#include "async_worker/worker.hpp"
#include "async_worker/worker_options.hpp"

#endif
