#pragma once

#include "../../errors.hpp"
#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "trampoline.hpp"

#include <atomic>
#include <coroutine>
#include <cstdint>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class event_loop;
class job_runner;
class operation;
struct task_await;

/// One logical flow of awaits: a whole task that was handed to a worker, or one child of when_all and its kin. Touched by
/// its loop's thread only.
class job {
public:
    /// Without a runner it cannot run yet.
    explicit job(job_runner* r) noexcept : runner(r), root(this) {}
    job(const job&) = delete;
    job& operator=(const job&) = delete;

    /// Resumes a coroutine of this job and all that follows from it, until it is suspended or has ended. Calls ended() if
    /// the job is done, which may destroy it.
    void run(std::coroutine_handle<> h) noexcept;

    /// Cancels this and all that it waits for. Resumes nothing by itself.
    void cancel() noexcept;

    job_runner* runner;
    job* root;  // the outermost job that this is part of, itself if it is that
    bool cancelled = false;
    bool shielded = false;  // a request to cancel the root is none to cancel this
    bool done = false;      // its outermost task has returned
    intrusive_list<operation>
        waiting;  // what it is suspended in, newest first; several operations if another library's
                  // combinator runs flows of its own

    /// Called for each turn of the loop that it takes with something ready. True from the 64th after its cancellation on:
    /// then also tasks, shields and other libraries' awaitables end with operation_cancelled, which else are no operations
    /// that do. A clean-up has time enough, and a loop that awaits nothing else ends.
    bool has_ignored_cancel() noexcept {
        if (cancelled && turns_ != 64) ++turns_;
        return turns_ == 64;
    }
    bool has_ignored_cancel_before() const noexcept { return turns_ == 64; }

    /// Of a root: a cancellation was asked for, though the loop may not have got to it yet.
    virtual bool stop_requested() const noexcept { return false; }

protected:
    ~job();

private:
    friend class cancel_list;
    friend operation;
    virtual void ended() noexcept = 0;
    void detach_operations() noexcept;

    unsigned char turns_ = 0;
    job* next_ = nullptr;  // in a list of those that are still to be visited
};

/// Jobs that are to be cancelled: a list instead of recursion, since jobs nest to any depth.
class cancel_list {
public:
    void add(job& j) noexcept;
    void run() noexcept;

private:
    job* first_ = nullptr;
};

/// A coroutine of a job, as far as those who await, cancel or trace it must know: the part of a task's promise that does not
/// depend on its result.
struct promise_base {
    enum class owner : unsigned char { task, job, other_library };

    job* in = nullptr;                     // null if it runs outside of any worker
    std::coroutine_handle<> continuation;  // set once its awaiter is suspended
    promise_base* awaiter = nullptr;       // if that is a task
    task_await* awaits = nullptr;          // the child task that this one is suspended in
    await_location at{};                   // its newest co_await, if there was one
    unsigned depth = 0;
    std::uint16_t turn = 0;  // 64 for each child task that it awaits: 0 after every 1024th
    owner owned_by = owner::task;
    std::atomic<bool> passed{false};  // of one that another library owns: see handshake()
};

/// For two parties that arrive once each, on any threads: false for the first, true for the second, which sees all that the
/// first did before.
inline bool handshake(std::atomic<bool>& passed) noexcept { return passed.exchange(true, std::memory_order_acq_rel); }

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
