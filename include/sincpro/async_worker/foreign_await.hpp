#pragma once

#include "awaitable.hpp"
#include "cancellation.hpp"
#include "frame_pool.hpp"

#include <atomic>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

namespace sincpro::detail {

/// The part of an await of another library's awaitable that knows not its type.
class foreign_operation : public operation {
public:
    void cancel(cancel_list&) noexcept final {}  // it cannot be interrupted

    /// Called where the other library resumes what it believes to be its awaiter: on any thread, inside any job.
    SINCPRO_DETAIL_NOINLINE void resumed() noexcept {
        if (!passed_.exchange(true, std::memory_order_acq_rel)) return;  // pairs with suspended()
        if (loop_ != nullptr) {
            loop_->post(*this);
        } else {
            trampoline().run(self_);
        }
    }

protected:
    template <class Promise>
    void prepare(std::coroutine_handle<Promise> h) {
        passed_.store(false, std::memory_order_relaxed);
        self_ = h;
        if constexpr (std::is_base_of_v<promise_base, Promise>) {
            if (h.promise().in == nullptr) return;  // a task that a stranger runs outside of any worker
        }
        attach(h);
        link();
    }
    /// False if it was resumed already: the awaiter then goes on where it is.
    bool suspended() noexcept {
        const bool stays = !passed_.exchange(true, std::memory_order_acq_rel);  // pairs with resumed()
        if (!stays && linked_) unlink();
        return stays;
    }

private:
    std::atomic<bool> passed_{false};  // by one of {suspended, resumed}: the second one goes on
    std::coroutine_handle<> self_;
};

/// The coroutine that another library's awaitable resumes in place of ours, so that ours stays on its thread.
struct hop {
    struct promise_type : recycled {
        explicit promise_type(foreign_operation& o) noexcept : of(o) {}

        hop get_return_object() noexcept { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        auto final_suspend() const noexcept {
            struct awaiter {
                bool await_ready() const noexcept { return false; }
                void await_suspend(std::coroutine_handle<promise_type> h) const noexcept { h.promise().of.resumed(); }
                void await_resume() const noexcept {}
            };
            return awaiter{};
        }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }

        foreign_operation& of;
    };
    std::coroutine_handle<promise_type> frame;
};
inline hop make_hop(foreign_operation&) { co_return; }

/// Awaits an awaitable of another library.
template <class A>
class foreign_await : public foreign_operation {
public:
    explicit foreign_await(A&& a) : awaiter_(detail::get_awaiter(std::forward<A>(a))) {}
    foreign_await(const foreign_await&) = delete;
    foreign_await& operator=(const foreign_await&) = delete;
    ~foreign_await() {
        if (hop_) hop_.destroy();
    }

    bool await_ready() { return static_cast<bool>(awaiter_.await_ready()); }

    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        hop_ = make_hop(*this).frame;
        prepare(h);
        try {
            using returned = decltype(awaiter_.await_suspend(hop_));
            if constexpr (std::is_void_v<returned>) {
                awaiter_.await_suspend(hop_);
            } else if constexpr (std::is_same_v<returned, bool>) {
                if (!awaiter_.await_suspend(hop_)) resumed();
            } else {
                trampoline().run(awaiter_.await_suspend(hop_));
            }
        } catch (...) {
            if (linked_) unlink();
            throw;
        }
        return suspended();
    }

    decltype(auto) await_resume() { return awaiter_.await_resume(); }

private:
    awaiter_t<A> awaiter_;
    std::coroutine_handle<hop::promise_type> hop_;
};

}  // namespace sincpro::detail
