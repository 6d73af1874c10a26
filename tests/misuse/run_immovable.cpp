// expect: this cannot be moved: pass a callable that returns it
#include <sincpro/async_worker.hpp>

#include <coroutine>

struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};

int main() { sincpro::run_async_task(immovable()); }
