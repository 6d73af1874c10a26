// expect: a task can be awaited once: pass std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> any() {
    std::vector<sincpro::task<int>> tasks;
    tasks.push_back(simple());
    co_await sincpro::when_any(tasks);
}
