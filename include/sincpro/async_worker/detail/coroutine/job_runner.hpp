#pragma once

#include "../../errors.hpp"
#include "../base/config.hpp"
#include "job.hpp"

#if SINCPRO_DETAIL_DEFINITIONS

#include <atomic>
#include <coroutine>
#include <mutex>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Runs the jobs of one event loop, on its thread, and lets other threads look at those that stand still.
class job_runner {
public:
    explicit job_runner(event_loop& l) noexcept : loop(l), detached(this) {}
    job_runner(const job_runner&) = delete;
    job_runner& operator=(const job_runner&) = delete;

    /// Resumes a coroutine of `j` that was suspended at `at`.
    void resume(job& j, std::coroutine_handle<> h, const await_location& at) noexcept;

    /// Any other thread: if a coroutine of this loop is being run, keeps the loop from going on after it while
    /// `visit(root, where it was last resumed)` runs. That coroutine goes on and may end, so its root is but an address; all
    /// other jobs stand still and may be looked at. False, and nothing is called, if no coroutine is being run.
    template <class Visit>
    bool visit_while_running(Visit visit) {
        const std::lock_guard lock(paused_);
        if (!try_pause()) return false;
        struct unpause {
            ~unpause() { of.end_pause(); }
            job_runner& of;
        } const at_the_end{*this};
        visit(static_cast<const job*>(running_), static_cast<const await_location&>(running_at_));
        return true;
    }

    event_loop& loop;

    /// Adopts the operations that another library's coroutines began inside a job, so that they can complete after that job
    /// has ended.
    struct detached_operations final : job {
        using job::job;
        void ended() noexcept override {}
    } detached;

private:
    enum class state : unsigned char { open, running, paused };

    bool try_pause() noexcept;
    void end_pause() noexcept;

    std::atomic<state> state_{state::open};
    std::mutex paused_;             // held by whoever looks
    const job* running_ = nullptr;  // a root
    await_location running_at_{};
};

SINCPRO_DETAIL_INLINE void job_runner::resume(job& j, std::coroutine_handle<> h, const await_location& at) noexcept {
    running_at_ = at;
    running_ = j.root;
    state_.store(state::running, std::memory_order_release);  // pairs with the acquire in try_pause()
    j.run(h);
    if (state_.exchange(state::open, std::memory_order_acq_rel) == state::paused) {
        const std::lock_guard wait_until_nobody_looks(paused_);
    }
}

SINCPRO_DETAIL_INLINE bool job_runner::try_pause() noexcept {
    state running = state::running;
    return state_.compare_exchange_strong(running, state::paused, std::memory_order_acq_rel);
}
SINCPRO_DETAIL_INLINE void job_runner::end_pause() noexcept {
    state paused = state::paused;  // unless the loop waits for the lock by now
    state_.compare_exchange_strong(paused, state::running, std::memory_order_acq_rel);
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
