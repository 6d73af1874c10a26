#pragma once

#include "config.hpp"
#include "duration.hpp"
#include "errors.hpp"

#include <atomic>
#include <coroutine>
#include <utility>

namespace sincpro::detail {

class job;

/// Something that an executor does later on its thread: a node of the executor's lists, so queueing never allocates.
struct work {
    using function = void (*)(work&) noexcept;
    explicit constexpr work(function f) noexcept : run(f) {}

    bool queued() const noexcept { return prev != nullptr; }
    void leave_queue() noexcept {
        prev->next = next;
        next->prev = prev;
        prev = nullptr;
    }

    work* next = nullptr;
    work* prev = nullptr;  // set while it stands in a queue of the executor's own thread
    function run;
};

/// What a job runs on. The event loop is the only one; this is all that tasks know of it.
class executor {
public:
    /// Queues `w`, from any thread. False, and nothing done, if the executor has ended.
    virtual bool post(work& w) noexcept = 0;
    /// Resumes a coroutine of `j`, which was suspended at `at`. Executor's thread.
    virtual void resume(job& j, std::coroutine_handle<> h, const await_location& at) noexcept = 0;

    /// Queues what other threads have posted, so that it can leave the queue. Does nothing on another thread.
    virtual void collect() noexcept {}

    // Whoever may post, and is not kept by what runs here, counts: see counted_ptr.
    virtual void hold() noexcept = 0;
    virtual void drop() noexcept = 0;

    /// Takes over what coroutines of other libraries still wait for when the job has ended in which they began it.
    job* strays = nullptr;

protected:
    ~executor() = default;
};

class trampoline;

struct thread_state {
    executor* loop = nullptr;  // of the worker whose thread this is
    job* running = nullptr;    // whose coroutine runs
    trampoline* innermost = nullptr;
    const std::atomic<bool>* function_cancelled = nullptr;  // of the to_thread function that runs
    const void* helps = nullptr;                            // the executor whose helper thread this is
    clock::time_point blind_until{};                        // see look()
    signed char is_main = -1;                               // not known yet; asking the system costs 0.3 us
};

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_SHARED inline thread_state& current() noexcept {
    static constinit thread_local thread_state state;
    return state;
}

/// Where a coroutine leaves the one to go on with: it returns to here first, so that a chain of any length needs no
/// stack. (Symmetric transfer does that too, but GCC 11 and 12 make it a call at -O0, -O1 and under sanitizers.)
class trampoline {
public:
    explicit trampoline(thread_state& thread = current()) noexcept
        : thread_(thread), outer_(std::exchange(thread.innermost, this)) {}
    trampoline(const trampoline&) = delete;
    trampoline& operator=(const trampoline&) = delete;
    ~trampoline() { thread_.innermost = outer_; }

    /// Resumes `h` and all that follows from it, until it is suspended or has ended.
    void run(std::coroutine_handle<> h) {
        for (; h; h = std::exchange(next, nullptr)) h.resume();
    }

    std::coroutine_handle<> next;

private:
    thread_state& thread_;
    trampoline* outer_;
};

}  // namespace sincpro::detail
