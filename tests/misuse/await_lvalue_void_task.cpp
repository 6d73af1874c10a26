// expect: a task can be awaited once: write co_await std::move(task)
#include <sincpro/async_worker.hpp>

sincpro::task<> nothing() { co_return; }

sincpro::task<> wrong() {
    auto t = nothing();
    co_await t;
}
