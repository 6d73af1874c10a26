// expect: to_thread(f, args...): f cannot be called with these arguments
#include <sincpro/async_worker.hpp>

int blocking() { return 1; }

sincpro::task<> wrong() { co_await sincpro::to_thread(blocking, 1); }
