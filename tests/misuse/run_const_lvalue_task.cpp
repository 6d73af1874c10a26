// expect: a task can be awaited once: pass std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

int main() {
    const auto t = simple();
    return sincpro::run_async_task(t);
}
