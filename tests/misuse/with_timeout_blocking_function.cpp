// expect: a callable without arguments that returns one. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

int blocking() { return 1; }

sincpro::task<> limited() { co_await sincpro::with_timeout(blocking, std::chrono::seconds(1)); }
