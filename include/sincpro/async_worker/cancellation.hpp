#pragma once

#include "detail/base/config.hpp"

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/coroutine/job.hpp"
#include "detail/coroutine/trampoline.hpp"

#include <atomic>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

/// True if the task that calls this has been cancelled, also while it has kept the worker thread busy; in a function that
/// to_thread runs: the task that awaits it. False in all other code. (asyncio.Task.cancelling)
bool cancellation_requested() noexcept;

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE bool cancellation_requested() noexcept {
    const detail::thread_context& thread = detail::this_thread();
    if (const detail::job* const j = thread.running) {
        return j->cancelled || (!j->shielded && j->root->stop_requested());
    }
    return thread.function_cancelled != nullptr && thread.function_cancelled->load(std::memory_order_acquire);
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
