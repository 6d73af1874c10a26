// expect: the value is in the task: write co_return co_await f()
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<int> wrong() { co_return simple(); }
