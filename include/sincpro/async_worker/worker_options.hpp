#pragma once

#include "detail/base/config.hpp"
#include "detail/base/function.hpp"

#include <chrono>
#include <exception>
#include <string>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

/// How a worker behaves. An aggregate: `worker w({.name = "db"})`.
struct worker_options {
    /// Of the thread, as debuggers and `top` show it (Linux: the first 15 characters).
    std::string name = "async-worker";
    /// How long run() waits after its timeout for the cancelled task to end; `max()`: for ever.
    std::chrono::milliseconds cancel_grace{100};
    /// How long shutdown() waits for the cancelled tasks to end, and for functions of to_thread.
    std::chrono::milliseconds shutdown_grace{2000};
    /// Gets the exception of a task whose task_future was dropped, on the worker thread (if the worker has ended: on the
    /// thread that drops). Not called for operation_cancelled. What it throws is dropped.
    std::function<void(std::exception_ptr)> on_unobserved_exception = {};
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
