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

    /// What the loop's thread runs of the program.
    struct running_code {
        const job* root = nullptr;   // of the coroutine
        await_location at{};         // where that was last resumed
        const char* hook = nullptr;  // the function of the program that is called instead
    };

    /// While a function of the program that is no coroutine runs, also inside of one that is.
    class running_scope {
    public:
        running_scope(job_runner& r, const running_code& c) noexcept;
        running_scope(const running_scope&) = delete;
        running_scope& operator=(const running_scope&) = delete;
        ~running_scope();

    private:
        job_runner& runner_;
        const bool nested_;
        const running_code outer_;
    };

    /// Any other thread: if code of the program is being run, keeps the loop from going on after it while
    /// `visit(running_code)` runs. That code goes on and may end, so its root is but an address; all other jobs stand still
    /// and may be looked at. False, and nothing is called, if there is none.
    template <class Visit>
    bool visit_while_running(Visit visit) {
        const std::lock_guard lock(paused_);
        if (!try_pause()) return false;
        struct unpause {
            ~unpause() { of.end_pause(); }
            job_runner& of;
        } const at_the_end{*this};
        visit(static_cast<const running_code&>(running_));
        return true;
    }

    /// Counts what is ready at once. True for every 64th, which then goes through the loop's queue: a task that awaits only
    /// such can be cancelled and starves nobody. (tokio's cooperative budget)
    bool is_turn_due() noexcept { return ++ready_at_once_ % 64 == 0; }

    /// Counts the resumptions.
    unsigned activation() const noexcept { return activation_; }

    event_loop& loop;

    /// Adopts the operations that another library's coroutines began inside a job, so that they can complete after that job
    /// has ended.
    struct detached_operations final : job {
        using job::job;
        void ended() noexcept override {}
    } detached;

private:
    enum class state : unsigned char { open, running, paused };

    void start_running(const running_code& c) noexcept;
    void stop_running() noexcept;
    bool try_pause() noexcept;
    void end_pause() noexcept;

    std::atomic<state> state_{state::open};
    std::mutex paused_;  // held by the visitor
    running_code running_;
    unsigned ready_at_once_ = 0, activation_ = 0;
};

SINCPRO_DETAIL_INLINE void job_runner::resume(job& j, std::coroutine_handle<> h, const await_location& at) noexcept {
    ++activation_;
    start_running({j.root, at});
    j.run(h);
    stop_running();
}

SINCPRO_DETAIL_INLINE void job_runner::start_running(const running_code& c) noexcept {
    running_ = c;
    state_.store(state::running, std::memory_order_release);  // pairs with the acquire in try_pause()
}
SINCPRO_DETAIL_INLINE void job_runner::stop_running() noexcept {
    if (state_.exchange(state::open, std::memory_order_acq_rel) == state::paused) {
        const std::lock_guard wait_for_the_visitor(paused_);
    }
}

SINCPRO_DETAIL_COLD job_runner::running_scope::running_scope(job_runner& r, const running_code& c) noexcept
    : runner_(r), nested_(r.state_.load(std::memory_order_relaxed) != state::open), outer_(r.running_) {
    if (nested_) r.stop_running();
    r.start_running(c);
}
SINCPRO_DETAIL_COLD job_runner::running_scope::~running_scope() {
    runner_.stop_running();
    if (nested_) runner_.start_running(outer_);
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
