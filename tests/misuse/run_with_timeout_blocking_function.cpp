// expect: a callable without arguments that returns one. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

int blocking() { return 1; }

int main() { return sincpro::run_async_task(blocking, std::chrono::seconds(1)); }
