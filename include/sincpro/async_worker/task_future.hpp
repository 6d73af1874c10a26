#pragma once

#include "frame_pool.hpp"
#include "root.hpp"

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

namespace sincpro {

class worker;

namespace detail {

/// A task whose outcome goes to a future.
template <class T>
class future_root final : public root<T> {
public:
    future_root(task<T> t, counted_ptr<call_state> c)
        : root<T>(std::move(t), std::move(c)), promise_(std::allocator_arg, recycling_allocator<char>()) {}

    std::future<T> get_future() { return promise_.get_future(); }

private:
    void publish(result<T>& outcome) noexcept override {
        try {
            if (!outcome) {
                set_exception(std::move(outcome).error());
            } else if constexpr (std::is_void_v<T>) {
                promise_.set_value();
            } else {
                promise_.set_value(std::move(outcome).value());
            }
        } catch (...) {
            set_exception(std::current_exception());
        }
        outcome.clear();
        settle();
    }
    void fail(std::exception_ptr error) noexcept override {
        set_exception(std::move(error));
        settle();
    }
    void set_exception(std::exception_ptr error) noexcept {
        if (this->call->fate_shared.exchange(true, std::memory_order_acq_rel)) {  // pairs with ~task_future
            static_cast<worker_loop&>(*this->loop).report_unobserved(error);
        } else {
            promise_.set_exception(std::move(error));
        }
    }
    void settle() noexcept { this->call->at.store(phase::published, std::memory_order_release); }

    std::promise<T> promise_;
};

/// What would wait for a worker on a worker's thread is an error: the one that is waited for might be waiting, too.
inline void check_may_block(const char* what) {
    if (current().loop == nullptr) return;
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur), what);
}

}  // namespace detail

/// The future of a task that submit_async_task started: a std::future that can also cancel.
///
/// Dropping it lets the task go on by itself; what that throws then goes to worker_options::on_unobserved_exception. On a
/// worker's thread get(), wait() and waits for a time to come throw std::system_error(resource_deadlock_would_occur) unless
/// it is ready: co_await the task itself there.
template <class R>
class task_future : public std::future<R> {
    using base = std::future<R>;

public:
    task_future() noexcept = default;
    task_future(task_future&&) noexcept = default;  ///< The other one is invalid afterwards.
    /// What was held is dropped: that task goes on by itself.
    task_future& operator=(task_future&& other) noexcept {
        if (this != &other) {
            drop();
            base::operator=(std::move(other));
            call_ = std::move(other.call_);
        }
        return *this;
    }
    ~task_future() { drop(); }

    /// Cancels the task, which then ends with operation_cancelled. Any thread, any number of times; nothing happens if the
    /// task has ended.
    void cancel() const noexcept {
        if (call_) call_->request_cancel();
    }

    /// As std::future::get(): once, the result or the exception.
    R get() {
        wait();
        if (call_ && call_->orphaned()) {
            base::operator=(base());
            throw worker_stopped();
        }
        return base::get();
    }
    /// As std::future::wait(). When it returns the frame of the task is gone.
    void wait() const {
        check();
        if (detail::look([this] { return ready(); })) return;
        base::wait();
        settle();
    }
    /// As std::future::wait_for(), on the steady clock, for every duration: a huge one waits for ever. Throws
    /// std::invalid_argument for NaN.
    template <class Rep, class Period>
    std::future_status wait_for(std::chrono::duration<Rep, Period> d) const {
        // libstdc++ overflows on what is huge, and returns at once.
        return wait_until(detail::deadline_after(detail::saturate(d)));
    }
    /// As std::future::wait_until(), for every time of the steady clock too.
    template <class Clock, class Duration>
    std::future_status wait_until(std::chrono::time_point<Clock, Duration> t) const {
        if (ready()) return std::future_status::ready;
        if (!(t <= Clock::now())) check();  // who only looks does not block
        if constexpr (std::is_same_v<Clock, detail::clock>) {
            const detail::clock::time_point until = detail::saturate_time(t);
            if (until != detail::clock::time_point::max()) return settled(base::wait_until(until));
            wait();
            return std::future_status::ready;
        } else {
            return settled(base::wait_until(t));
        }
    }

private:
    friend worker;
    task_future(base f, detail::counted_ptr<detail::call_state> c) noexcept : base(std::move(f)), call_(std::move(c)) {}

    bool ready() const { return call_ && (call_->published() || call_->orphaned()); }
    /// A std::future is ready a moment before the worker has destroyed what it moved the result from: waits for that.
    void settle() const noexcept {
        while (call_ && !ready()) std::this_thread::yield();
    }
    std::future_status settled(std::future_status status) const noexcept {
        if (status == std::future_status::ready) settle();
        return status;
    }
    void check() const {
        if (!ready() && base::valid()) {
            detail::check_may_block(
                "sincpro: task_future::get() and wait() would block a worker's thread; co_await the task instead");
        }
    }

    void drop() noexcept {
        const detail::counted_ptr<detail::call_state> call = std::move(call_);
        // Pairs with future_root::set_exception: the second of the two sees to an exception that nobody gets.
        if (!call || !base::valid() || call->orphaned()) return;
        if (!call->fate_shared.exchange(true, std::memory_order_acq_rel)) return;
        try {
            static_cast<void>(base::get());
        } catch (...) {
            report(*call, std::current_exception());
        }
    }
    static void report(detail::call_state& call, std::exception_ptr error) noexcept;

    detail::counted_ptr<detail::call_state> call_;
};

template <class R>
void task_future<R>::report(detail::call_state& call, std::exception_ptr error) noexcept {
    struct unobserved : detail::work {
        unobserved(detail::counted_ptr<detail::executor> l, std::exception_ptr e) noexcept
            : work(&unobserved::arrive), loop(std::move(l)), error(std::move(e)) {}
        static void arrive(detail::work& w) noexcept {
            const std::unique_ptr<unobserved> self(static_cast<unobserved*>(&w));
            static_cast<detail::worker_loop&>(*self->loop).report_unobserved(self->error);
        }
        detail::counted_ptr<detail::executor> loop;
        std::exception_ptr error;
    };
    auto* const node = new (std::nothrow) unobserved(call.loop, error);
    if (node != nullptr && call.loop->post(*node)) return;
    delete node;
    static_cast<detail::worker_loop&>(*call.loop).report_unobserved(error);
}

}  // namespace sincpro
