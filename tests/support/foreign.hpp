#pragma once

// Awaitables as other libraries write them. None of them knows the library under test.
//
// An await_suspend that resumes its handle, or shows it to other threads, is not inlined: Clang before 17 would keep
// its locals in the frame of the coroutine, which may be gone by then.

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>

namespace support {

/// Holds the T that an await_resume gives: a value, T& (kept as a pointer), T&& (kept as a value) or void.
template <class T>
class kept {
public:
    explicit kept(T value) : value_(std::move(value)) {}
    T take() { return std::move(value_); }

private:
    T value_;
};

template <class T>
class kept<T&> {
public:
    explicit kept(T& value) : value_(&value) {}
    T& take() { return *value_; }

private:
    T* value_;
};

template <class T>
class kept<T&&> {
public:
    explicit kept(T&& value) : value_(std::move(value)) {}
    T&& take() { return std::move(value_); }

private:
    T value_;
};

template <>
class kept<void> {
public:
    void take() {}
};

/// A plain awaiter that is ready at once and gives a T.
template <class T = void>
class ready_awaiter {
public:
    ready_awaiter() requires std::is_void_v<T>
    = default;
    template <class U>
        requires(!std::is_same_v<std::remove_cvref_t<U>, ready_awaiter>)
    explicit ready_awaiter(U&& value) : value_(std::forward<U>(value)) {}

    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    T await_resume() { return value_.take(); }

private:
    kept<T> value_;
};

/// A plain awaiter that resumes its coroutine inside await_suspend, on the same stack.
template <class T = void>
class resumes_inline : public ready_awaiter<T> {
public:
    using ready_awaiter<T>::ready_awaiter;
    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) const { self.resume(); }
};

/// A plain awaiter whose await_suspend says `false`: go on at once.
template <class T = void>
class refuses_to_suspend : public ready_awaiter<T> {
public:
    using ready_awaiter<T>::ready_awaiter;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
};

/// A plain awaiter whose await_suspend returns the handle to resume: its own coroutine.
template <class T = void>
class transfers_back : public ready_awaiter<T> {
public:
    using ready_awaiter<T>::ready_awaiter;
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept {
        // Clang 14 and 15 must not see that it is the same: they would lose what comes after a later await.
        void* const volatile address = self.address();
        return std::coroutine_handle<>::from_address(address);
    }
};

/// A plain awaiter that resumes its coroutine on a std::thread of its own.
template <class T = void>
class resumes_on_new_thread : public ready_awaiter<T> {
public:
    using ready_awaiter<T>::ready_awaiter;
    bool await_ready() const noexcept { return false; }
    [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) const {
        std::thread([self] { self.resume(); }).detach();
    }
};

/// A plain awaiter that throws `E{}` when it is resumed.
template <class E>
struct throws_when_awaited {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const { throw E{}; }
};

/// Awaitable by a member `operator co_await` only.
template <class T = void>
class member_co_await {
public:
    member_co_await() requires std::is_void_v<T>
    = default;
    template <class U>
        requires(!std::is_same_v<std::remove_cvref_t<U>, member_co_await>)
    explicit member_co_await(U&& value) : awaiter_(std::forward<U>(value)) {}

    transfers_back<T> operator co_await() && { return std::move(awaiter_); }
    transfers_back<T> operator co_await() const& { return awaiter_; }

private:
    transfers_back<T> awaiter_;
};

/// Awaitable by a free `operator co_await` only, which is found by argument-dependent look-up.
template <class T>
struct free_co_await {
    T value;
};

template <class T>
transfers_back<T> operator co_await(free_co_await<T>&& awaited) {
    return transfers_back<T>(std::move(awaited.value));
}

template <class T>
transfers_back<T> operator co_await(const free_co_await<T>& awaited) {
    return transfers_back<T>(awaited.value);
}

/// A thread of another library with its own queue. `co_await thread.switch_to()` goes on there. Joins in its destructor,
/// which must not run while a coroutine is still on its way to it.
class foreign_thread {
public:
    foreign_thread() : thread_([this] { run(); }) {}
    foreign_thread(const foreign_thread&) = delete;
    foreign_thread& operator=(const foreign_thread&) = delete;
    ~foreign_thread() {
        resume_here(nullptr);
        thread_.join();
    }

    void resume_here(std::coroutine_handle<> next) {
        std::lock_guard lock(mutex_);
        queue_.push_back(next);
        changed_.notify_one();
    }

    auto switch_to() {
        struct awaiter {
            explicit awaiter(foreign_thread& to) : to_(&to) {}
            bool await_ready() const noexcept { return false; }
            [[gnu::noinline]] void await_suspend(std::coroutine_handle<> self) const { to_->resume_here(self); }
            void await_resume() const noexcept {}

        private:
            foreign_thread* to_;
        };
        return awaiter(*this);
    }

private:
    void run() {
        for (;;) {
            std::coroutine_handle<> next;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [this] { return !queue_.empty(); });
                next = queue_.front();
                queue_.pop_front();
            }
            if (!next) {
                return;
            }
            next.resume();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::coroutine_handle<>> queue_;
    std::thread thread_;
};

/// Stays set once set; set() resumes all who wait on the thread that calls it, one inside the call, then the next.
class foreign_event {
public:
    class awaiter {
    public:
        explicit awaiter(foreign_event& event) : event_(&event) {}
        bool await_ready() const noexcept { return event_->is_set(); }
        [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> self) noexcept {
            std::lock_guard lock(event_->mutex_);
            if (event_->set_) {
                return false;
            }
            self_ = self;
            next_ = std::exchange(event_->waiters_, this);
            ++event_->waiting_;
            return true;
        }
        void await_resume() const noexcept {}

    private:
        friend foreign_event;
        foreign_event* event_;
        awaiter* next_ = nullptr;
        std::coroutine_handle<> self_;
    };

    awaiter operator co_await() noexcept { return awaiter(*this); }

    void set() {
        awaiter* waiter = nullptr;
        {
            std::lock_guard lock(mutex_);
            set_ = true;
            waiter = std::exchange(waiters_, nullptr);
            waiting_ = 0;
        }
        while (waiter != nullptr) {
            const auto self = waiter->self_;
            waiter = waiter->next_;
            self.resume();
        }
    }

    [[nodiscard]] bool is_set() const noexcept {
        std::lock_guard lock(mutex_);
        return set_;
    }

    /// How many coroutines wait now.
    [[nodiscard]] int waiting() const noexcept {
        std::lock_guard lock(mutex_);
        return waiting_;
    }

private:
    mutable std::mutex mutex_;
    bool set_ = false;
    int waiting_ = 0;
    awaiter* waiters_ = nullptr;
};

template <class T>
struct foreign_result {
    template <class U>
    void return_value(U&& value) {
        outcome.template emplace<1>(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { outcome.template emplace<2>(std::current_exception()); }
    T take() {
        if (outcome.index() == 2) {
            std::rethrow_exception(std::get<2>(std::move(outcome)));
        }
        return std::get<1>(std::move(outcome)).take();
    }

    std::variant<std::monostate, kept<T>, std::exception_ptr> outcome;
};

template <>
struct foreign_result<void> {
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }
    void take() {
        if (error) {
            std::rethrow_exception(std::move(error));
        }
    }

    std::exception_ptr error;
};

/// The part of a promise that differs between void and the rest, where the result lives outside the frame.
template <class T>
struct foreign_return {
    template <class U>
    void return_value(U&& value) {
        result->return_value(std::forward<U>(value));
    }

    foreign_result<T>* result = nullptr;
};

template <>
struct foreign_return<void> {
    void return_void() const noexcept {}

    foreign_result<void>* result = nullptr;
};

/// A lazy coroutine of another library: starts when it is awaited, by symmetric transfer, and ends the same way. Its
/// promise accepts every awaitable as it is.
template <class T = void>
class foreign_lazy {
public:
    struct promise_type : foreign_result<T> {
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                return self.promise().continuation;
            }
            void await_resume() const noexcept {}
        };

        foreign_lazy get_return_object() {
            return foreign_lazy(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }

        std::coroutine_handle<> continuation;
    };

    foreign_lazy(foreign_lazy&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    foreign_lazy& operator=(foreign_lazy&&) = delete;
    ~foreign_lazy() {
        if (frame_) {
            frame_.destroy();
        }
    }

    auto operator co_await() && noexcept {
        struct awaiter {
            explicit awaiter(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept {
                frame_.promise().continuation = self;
                return frame_;
            }
            T await_resume() const { return frame_.promise().take(); }

        private:
            std::coroutine_handle<promise_type> frame_;
        };
        return awaiter(frame_);
    }

private:
    explicit foreign_lazy(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

/// A coroutine of another library that runs as soon as it is called, on the caller's thread; awaiting it waits for its
/// end. May be dropped: it goes on by itself.
template <class T = void>
class foreign_eager {
    struct shared : foreign_result<T> {
        void* ended() noexcept { return this; }
        // Null: runs, nobody waits. ended(): that. Else the handle that waits.
        std::atomic<void*> waiter{nullptr};
    };

public:
    struct promise_type : foreign_return<T> {
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            // Resumes instead of transferring: Clang before 17 keeps the handle to transfer to in the frame, which is
            // destroyed here.
            [[gnu::noinline]] void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                const auto kept_alive = self.promise().state;
                self.destroy();
                void* const waiter = kept_alive->waiter.exchange(kept_alive->ended(), std::memory_order_acq_rel);
                if (waiter != nullptr) {
                    std::coroutine_handle<>::from_address(waiter).resume();
                }
            }
            void await_resume() const noexcept {}
        };

        promise_type() { this->result = state.get(); }
        foreign_eager get_return_object() { return foreign_eager(state); }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }
        void unhandled_exception() noexcept { state->unhandled_exception(); }

        std::shared_ptr<shared> state = std::make_shared<shared>();
    };

    auto operator co_await() const noexcept {
        struct awaiter {
            explicit awaiter(std::shared_ptr<shared> state) : state_(std::move(state)) {}
            bool await_ready() const noexcept {
                return state_->waiter.load(std::memory_order_acquire) == state_->ended();
            }
            [[gnu::noinline]] bool await_suspend(std::coroutine_handle<> self) const noexcept {
                void* expected = nullptr;
                return state_->waiter.compare_exchange_strong(expected, self.address(), std::memory_order_acq_rel,
                                                              std::memory_order_acquire);
            }
            T await_resume() const { return state_->take(); }

        private:
            std::shared_ptr<shared> state_;
        };
        return awaiter(state_);
    }

private:
    explicit foreign_eager(std::shared_ptr<shared> state) : state_(std::move(state)) {}

    std::shared_ptr<shared> state_;
};

}  // namespace support
