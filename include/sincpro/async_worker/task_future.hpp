#pragma once

#include "detail/base/config.hpp"
#include "detail/base/duration.hpp"
#include "detail/base/intrusive_ptr.hpp"
#include "detail/bridge/shared_state.hpp"

#include <chrono>
#include <exception>
#include <future>
#include <type_traits>
#include <utility>

#if SINCPRO_DETAIL_DEFINITIONS
#include "detail/bridge/worker_thread.hpp"
#include "detail/loop/event_loop.hpp"
#include "detail/loop/spin_then_yield.hpp"
#include "detail/loop/work.hpp"
#include "errors.hpp"

#include <new>
#include <system_error>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

class worker;

namespace detail {

/// Throws std::system_error(resource_deadlock_would_occur) on a worker's thread: the worker that is waited for might be
/// waiting, too.
void check_may_block(const char* what);

/// The part of a task_future that does not depend on the result.
class future_state {
public:
    future_state() noexcept = default;
    explicit future_state(intrusive_ptr<shared_state> s) noexcept : state_(std::move(s)) {}

    void cancel() const noexcept {
        if (state_) state_->request_cancel();
    }
    bool is_ready() const noexcept { return state_ && (state_->is_published() || state_->is_orphaned()); }
    bool is_orphaned() const noexcept { return state_ && state_->is_orphaned(); }
    /// Throws on a worker's thread, unless it is ready.
    void check_wait() const;
    /// True if it has become ready while the caller yielded.
    bool wait_shortly() const noexcept;
    /// Once the std::future is ready.
    void wait_until_published() const noexcept {
        if (state_) state_->wait_until_published();
    }

    /// Nobody will ask for the outcome; true if there may be an exception that nobody has seen.
    bool abandon() noexcept;
    void report_unobserved(std::exception_ptr error) noexcept;
    void reset() noexcept { state_ = {}; }

private:
    intrusive_ptr<shared_state> state_;
};

}  // namespace detail

/// The future of a task that submit_async_task started: a std::future that can also cancel. An rvalue of it converts to a
/// std::future, which then is all that there is: the task can't be cancelled any more, what it throws is in that future.
///
/// Dropping it lets the task go on by itself; what that throws then goes to worker_options::on_unobserved_exception. On a
/// worker's thread get(), wait() and waits for a time to come throw std::system_error(resource_deadlock_would_occur) unless
/// it is ready: co_await the task itself there.
template <class R>
class task_future {
public:
    task_future() noexcept = default;               ///< Invalid.
    task_future(task_future&&) noexcept = default;  ///< The other one is invalid afterwards.
    /// What was held is dropped: that task goes on by itself.
    task_future& operator=(task_future&& other) noexcept {
        if (this != &other) {
            drop();
            future_ = std::move(other.future_);
            state_ = std::exchange(other.state_, {});
        }
        return *this;
    }
    ~task_future() { drop(); }

    /// The std::future alone.
    operator std::future<R>() && noexcept {
        state_.reset();
        return std::move(future_);
    }

    /// Cancels the task, which then ends with operation_cancelled. Any thread, any number of times; nothing happens if the
    /// task has ended.
    void cancel() const noexcept { state_.cancel(); }

    /// True until get().
    bool valid() const noexcept { return future_.valid(); }
    /// True if get() would not block.
    bool ready() const noexcept { return state_.is_ready(); }

    /// As std::future::get(): once, the result or the exception.
    R get() {
        wait();
        if (state_.is_orphaned()) future_ = orphaned();
        return future_.get();
    }
    /// As std::future::wait(). When it returns the frame of the task is gone.
    void wait() const {
        if (future_.valid()) state_.check_wait();
        if (state_.wait_shortly()) return;
        future_.wait();
        state_.wait_until_published();
    }
    /// As std::future::wait_for(), on the steady clock, for every duration: a huge one waits for ever. Throws
    /// std::invalid_argument for NaN.
    template <class Rep, class Period>
    std::future_status wait_for(std::chrono::duration<Rep, Period> d) const {
        return wait_until(detail::deadline_after(detail::saturate(d)));
    }
    /// As std::future::wait_until(), for every time of the steady clock too.
    template <class Clock, class Duration>
    std::future_status wait_until(std::chrono::time_point<Clock, Duration> t) const {
        if (ready()) return std::future_status::ready;
        if (future_.valid() && !(t <= Clock::now())) state_.check_wait();  // who only asks does not block
        if constexpr (std::is_same_v<Clock, detail::clock>) {
            const detail::clock::time_point until = detail::saturate_time(t);
            if (until != detail::never) return published(future_.wait_until(until));
            wait();  // libstdc++ overflows on what is huge, and returns at once
            return std::future_status::ready;
        } else {
            return published(future_.wait_until(t));
        }
    }

private:
    friend worker;
    task_future(std::future<R> f, detail::intrusive_ptr<detail::shared_state> s) noexcept
        : future_(std::move(f)), state_(std::move(s)) {}

    std::future_status published(std::future_status status) const noexcept {
        if (status == std::future_status::ready) state_.wait_until_published();
        return status;
    }
    /// In the child of a fork nobody goes on with the task.
    static std::future<R> orphaned() {
        std::promise<R> p;
        p.set_exception(std::make_exception_ptr(worker_stopped()));
        return p.get_future();
    }
    void drop() noexcept {
        if (!future_.valid() || !state_.abandon()) return;
        try {
            static_cast<void>(future_.get());
        } catch (...) {
            state_.report_unobserved(std::current_exception());
        }
    }

    std::future<R> future_;
    detail::future_state state_;
};

namespace detail {

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE void check_may_block(const char* what) {
    if (!event_loop::is_on_this_thread()) return;
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur), what);
}

SINCPRO_DETAIL_INLINE void future_state::check_wait() const {
    if (is_ready()) return;
    check_may_block("sincpro: task_future::get() and wait() would block a worker's thread; co_await the task instead");
}

SINCPRO_DETAIL_INLINE bool future_state::wait_shortly() const noexcept {
    return spin_then_yield([this] { return is_ready(); });
}

SINCPRO_DETAIL_INLINE bool future_state::abandon() noexcept {
    if (!state_ || state_->is_orphaned()) return false;
    if (state_->take_claim(claim::open, claim::abandoned) || state_->take_claim(claim::value, claim::abandoned)) {
        return false;  // from here on the worker sees to it
    }
    if (state_->claimed_by() != claim::error) return false;
    state_->wait_until_published();
    return true;
}

SINCPRO_DETAIL_COLD void future_state::report_unobserved(std::exception_ptr error) noexcept {
    struct report : work {
        report(intrusive_ptr<worker_thread> t, std::exception_ptr e) noexcept
            : work(&report::arrive), thread(std::move(t)), error(std::move(e)) {}
        static void arrive(work& w) noexcept {
            auto* const self = static_cast<report*>(&w);
            self->thread->report_unobserved(self->error);
            delete self;
        }
        intrusive_ptr<worker_thread> thread;
        std::exception_ptr error;
    };
    worker_thread& thread = state_->thread();
    auto* const posted = new (std::nothrow) report(share(thread), error);
    if (posted != nullptr && thread.post(*posted)) return;
    delete posted;
    thread.report_unobserved(error);
}

#endif

}  // namespace detail

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
