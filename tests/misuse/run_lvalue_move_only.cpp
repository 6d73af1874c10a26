// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

struct move_only {
    move_only() = default;
    move_only(move_only&&) = default;
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    int await_resume() const { return 1; }
};

int main() {
    move_only m;
    return sincpro::run_async_task(m);
}
