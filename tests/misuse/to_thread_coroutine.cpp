// expect: to_thread(f, args...): f is a coroutine, which runs when it is awaited: write co_await f(args...)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> wrong() { co_await sincpro::to_thread(simple); }
