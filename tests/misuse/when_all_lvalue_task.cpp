// expect: a task can be awaited once: pass std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> both() {
    auto t = simple();
    co_await sincpro::when_all(simple(), t);
}
