// expect: a callable without arguments that returns one. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

int blocking() { return 1; }

sincpro::task<> both() { co_await sincpro::when_all(simple(), blocking); }
