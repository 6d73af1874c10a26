// expect: a task can be awaited once: write co_await std::move(task)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<int> wrong() {
    auto t = simple();
    const int n = co_await t;
    co_return n;
}
