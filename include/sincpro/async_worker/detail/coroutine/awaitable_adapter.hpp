#pragma once

#include "../../awaitable.hpp"
#include "../base/config.hpp"
#include "../base/frame_cache.hpp"
#include "job.hpp"
#include "operation.hpp"
#include "trampoline.hpp"

#include <atomic>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../loop/event_loop.hpp"
#include "job_runner.hpp"

#include <future>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class adapter_base;

/// The coroutine that another library's awaitable resumes in place of ours, so that ours goes on on its own thread.
struct resume_thunk {
    struct promise_type;
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> h) const noexcept;
        void await_resume() const noexcept {}
    };
    struct promise_type : recycled {
        explicit promise_type(adapter_base& a) noexcept : adapter(&a) {}
        ~promise_type();

        resume_thunk get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }

        adapter_base* adapter;  // null once the frame is not needed any more
    };
    std::coroutine_handle<promise_type> frame;
};

/// The part of an await of another library's awaitable that does not depend on its type.
class adapter_base : public operation {
public:
    adapter_base(const adapter_base&) = delete;
    adapter_base& operator=(const adapter_base&) = delete;

    void cancel(cancel_list&) noexcept final {}  // it cannot be interrupted

    /// Called where the other library resumes what it believes to be its awaiter: on any thread, inside any job.
    void resumed() noexcept;
    /// Called where the other library destroys that instead, on any thread.
    void thunk_destroyed() noexcept;

protected:
    explicit adapter_base(promise_base& awaiter) noexcept : awaiter_(awaiter) { awaits_other_library_ = true; }
    ~adapter_base();

    /// True if the awaiter is not to be suspended for what is ready.
    bool goes_on_if(bool ready) noexcept {
        through_queue_ = goes_through_queue(ready);
        return ready && !through_queue_;
    }
    template <class Promise>
    void prepare(std::coroutine_handle<Promise> h) {
        self_ = h;
        // Else another library runs this task outside of any worker.
        if (awaiter_.in != nullptr) {
            attach(h);
            enter_job_outside();
        }
        make_thunk();
    }
    template <class Promise>
    void go_through_queue(std::coroutine_handle<Promise> h) {
        attach(h);
        enter_job();
        cancelled_ = job_->has_ignored_cancel();
        complete();
    }
    /// False if it was resumed already: the awaiter then goes on where it is.
    bool suspended() noexcept;
    void undo_prepare() noexcept {
        if (is_in_job()) leave_job();
    }
    /// Throws std::future_error(broken_promise) if the thunk was destroyed instead of resumed.
    void check_resumed() const;

    std::coroutine_handle<resume_thunk::promise_type> thunk_;
    bool through_queue_ = false;

private:
    bool goes_through_queue(bool ready) const noexcept;
    void make_thunk();
    void enter_job_outside() noexcept;

    promise_base& awaiter_;
    unsigned activation_ = 0, level_ = 0;  // in which this was suspended, and how deep on the stack
    std::atomic<bool> passed_{false};      // handshake of {suspended, resumed}: the second one goes on
    bool thunk_destroyed_ = false;
    std::coroutine_handle<> self_;
};

/// Awaits an awaitable of another library in a task: the task is resumed on its own thread.
template <class A>
class awaitable_adapter final : public adapter_base {
public:
    awaitable_adapter(A&& a, promise_base& by) : adapter_base(by), awaiter_(detail::get_awaiter(std::forward<A>(a))) {}

    bool await_ready() { return goes_on_if(static_cast<bool>(awaiter_.await_ready())); }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        if (through_queue_) {
            go_through_queue(h);
            return true;
        }
        prepare(h);
        try {
            using returned = decltype(awaiter_.await_suspend(thunk_));
            if constexpr (std::is_void_v<returned>) {
                awaiter_.await_suspend(thunk_);
            } else if constexpr (std::is_same_v<returned, bool>) {
                if (!awaiter_.await_suspend(thunk_)) resumed();
            } else {
                trampoline().run(awaiter_.await_suspend(thunk_));
            }
        } catch (...) {
            undo_prepare();
            throw;
        }
        return suspended();
    }

    decltype(auto) await_resume() {
        check_resumed();
        return awaiter_.await_resume();
    }

private:
    awaiter_t<A> awaiter_;
};

#if SINCPRO_DETAIL_DEFINITIONS

inline resume_thunk make_resume_thunk(adapter_base&) { co_return; }

SINCPRO_DETAIL_INLINE resume_thunk::promise_type::~promise_type() {
    if (adapter != nullptr) adapter->thunk_destroyed();
}

SINCPRO_DETAIL_INLINE void resume_thunk::final_awaiter::await_suspend(
    std::coroutine_handle<promise_type> h) const noexcept {
    h.promise().adapter->resumed();
}

SINCPRO_DETAIL_INLINE bool adapter_base::goes_through_queue(bool ready) const noexcept {
    job* const j = awaiter_.in;
    return j != nullptr && (j->has_ignored_cancel_before() || (ready && j->runner->is_turn_due()));
}

// The list is innermost first. What a coroutine of the other library that began eagerly waits in is there already.
SINCPRO_DETAIL_INLINE void adapter_base::enter_job_outside() noexcept {
    activation_ = job_->runner->activation();
    level_ = this_thread().innermost->depth;
    const auto runs_inside = [this](const operation& o) {
        if (!awaits_other_library(o)) return true;
        const auto& other = static_cast<const adapter_base&>(o);
        return other.activation_ == activation_ && other.level_ > level_;
    };
    auto at = job_->waiting.begin();
    while (at != job_->waiting.end() && runs_inside(*at)) ++at;
    job_->waiting.insert_before(at, *this);
}

SINCPRO_DETAIL_INLINE void adapter_base::make_thunk() {
    passed_.store(false, std::memory_order_relaxed);
    try {
        thunk_ = make_resume_thunk(*this).frame;
    } catch (...) {
        undo_prepare();
        throw;
    }
}

SINCPRO_DETAIL_INLINE adapter_base::~adapter_base() {
    if (!thunk_) return;
    thunk_.promise().adapter = nullptr;
    thunk_.destroy();
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void adapter_base::resumed() noexcept {
    if (!handshake(passed_)) return;
    if (loop_ != nullptr) {
        loop_->post(*this);
    } else {
        trampoline().run(self_);
    }
}

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_INLINE void adapter_base::thunk_destroyed() noexcept {
    thunk_ = nullptr;
    thunk_destroyed_ = true;
    resumed();
}

SINCPRO_DETAIL_INLINE bool adapter_base::suspended() noexcept {
    if (!handshake(passed_)) return true;
    return is_in_job() && ready_at_once();
}

SINCPRO_DETAIL_INLINE void adapter_base::check_resumed() const {
    throw_if_cancelled();
    if (thunk_destroyed_) throw std::future_error(std::future_errc::broken_promise);
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
