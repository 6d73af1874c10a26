#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <optional>
#include <utility>
#include <vector>

/// The floor of a task, as one writes it by hand: lazy, with symmetric transfer, a value or an exception. `Frames` says
/// where its frames come from.
namespace by_hand {

struct from_malloc {};

/// The last freed frames are kept, sorted by size.
struct recycled {
    static constexpr std::size_t step = 64, sizes = 8;
    inline static thread_local void* free_frames[sizes] = {};

    static void* operator new(std::size_t size) {
        std::size_t slot = size / step;
        if (slot >= sizes) return ::operator new(size);
        if (free_frames[slot] == nullptr) return ::operator new((slot + 1) * step);
        return std::exchange(free_frames[slot], *static_cast<void**>(free_frames[slot]));
    }

    static void operator delete(void* frame, std::size_t size) {
        std::size_t slot = size / step;
        if (slot >= sizes) return ::operator delete(frame);
        *static_cast<void**>(frame) = free_frames[slot];
        free_frames[slot] = frame;
    }
};

template <class Frames>
class task {
public:
    struct promise_type : Frames {
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                return self.promise().continuation;
            }
            void await_resume() const noexcept {}
        };

        task get_return_object() { return task(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }
        void return_value(int result) { value = result; }
        void unhandled_exception() { error = std::current_exception(); }

        std::coroutine_handle<> continuation = std::noop_coroutine();
        std::optional<int> value;
        std::exception_ptr error;
    };

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
        frame_.promise().continuation = awaiting;
        return frame_;
    }
    int await_resume() const {
        if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
        return *frame_.promise().value;
    }

    /// For the outermost task only, which must run to its end without waiting.
    int run() {
        frame_.resume();
        return await_resume();
    }

private:
    explicit task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

/// Counts those that are still running, and one for the awaiting task itself; whoever is last resumes it.
struct when_all_counter {
    std::atomic<std::size_t> running;
    std::coroutine_handle<> awaiting;

    std::coroutine_handle<> one_is_done() {
        if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) return awaiting;
        return std::noop_coroutine();
    }
};

/// The usual wrapper around each child of a when_all.
template <class Frames>
class wrapper {
public:
    struct promise_type : Frames {
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                return self.promise().counter->one_is_done();
            }
            void await_resume() const noexcept {}
        };

        wrapper get_return_object() { return wrapper(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }
        void return_value(int result) { value = result; }
        void unhandled_exception() { error = std::current_exception(); }

        when_all_counter* counter = nullptr;
        std::optional<int> value;
        std::exception_ptr error;
    };

    wrapper(wrapper&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    wrapper& operator=(wrapper&&) = delete;
    ~wrapper() {
        if (frame_) frame_.destroy();
    }

    void start(when_all_counter& counter) {
        frame_.promise().counter = &counter;
        frame_.resume();
    }

    int result() const {
        if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
        return *frame_.promise().value;
    }

private:
    explicit wrapper(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

template <class Frames>
wrapper<Frames> wrap(task<Frames> child) {
    co_return co_await child;
}

template <class Frames>
class when_all {
public:
    explicit when_all(std::vector<task<Frames>> children) {
        children_.reserve(children.size());
        for (auto& child : children) children_.push_back(wrap(std::move(child)));
    }

    bool await_ready() const noexcept { return children_.empty(); }
    bool await_suspend(std::coroutine_handle<> awaiting) {
        counter_.running.store(children_.size() + 1, std::memory_order_relaxed);
        counter_.awaiting = awaiting;
        for (auto& child : children_) child.start(counter_);
        return counter_.running.fetch_sub(1, std::memory_order_acq_rel) != 1;
    }
    std::vector<int> await_resume() const {
        std::vector<int> results;
        results.reserve(children_.size());
        for (auto& child : children_) results.push_back(child.result());
        return results;
    }

private:
    std::vector<wrapper<Frames>> children_;
    when_all_counter counter_{};
};

}  // namespace by_hand
