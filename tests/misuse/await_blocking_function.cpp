// expect: this cannot be awaited. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

int blocking() { return 1; }

sincpro::task<int> wrong() { co_return co_await blocking; }
