// expect: many tasks are awaited as one: when_all(std::move(tasks))
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> wrong(std::vector<sincpro::task<int>> tasks) { co_await sincpro::when_all(std::move(tasks), simple()); }
