// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

struct move_only {
    move_only() = default;
    move_only(move_only&&) = default;
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    int await_resume() const { return 1; }
};

sincpro::task<> all() {
    move_only m;
    co_await sincpro::when_all(m);
}
