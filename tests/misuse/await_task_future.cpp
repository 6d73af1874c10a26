// expect: a future blocks: await the task itself, or to_thread([](auto f) { return f.get(); }, std::move(future))
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<int> wrong() {
    auto future = sincpro::submit_async_task(simple());
    const int n = co_await future;
    co_return n;
}
