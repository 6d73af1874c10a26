#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace support {

/// A coroutine without any library: its frame is resumed by hand, each time up to its next co_await.
class steps {
public:
    struct promise_type {
        steps get_return_object() { return steps(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };

    steps(steps&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    steps& operator=(steps&&) = delete;
    ~steps() {
        if (frame_) {
            frame_.destroy();
        }
    }
    [[nodiscard]] std::coroutine_handle<> frame() const noexcept { return frame_; }

private:
    explicit steps(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

}  // namespace support
