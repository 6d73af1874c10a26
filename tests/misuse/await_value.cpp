// expect: this cannot be awaited. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

sincpro::task<> wrong() { co_await 1; }
