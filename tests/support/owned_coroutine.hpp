#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace support {

/// A coroutine of another library that runs at once, until its owner destroys it, wherever it is suspended.
class owned_coroutine {
public:
    struct promise_type {
        owned_coroutine get_return_object() {
            return owned_coroutine(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const { std::terminate(); }
    };
    owned_coroutine(owned_coroutine&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    owned_coroutine& operator=(owned_coroutine&&) = delete;
    ~owned_coroutine() {
        if (frame_) {
            frame_.destroy();
        }
    }

private:
    explicit owned_coroutine(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

    std::coroutine_handle<promise_type> frame_;
};

}  // namespace support
