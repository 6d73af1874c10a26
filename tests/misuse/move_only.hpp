#pragma once

#include <coroutine>

struct move_only {
    move_only() = default;
    move_only(move_only&&) = default;
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    int await_resume() const { return 1; }
};
