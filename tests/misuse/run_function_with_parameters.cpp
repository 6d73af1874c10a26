// expect: neither an awaitable nor a callable without arguments that returns one
#include <sincpro/async_worker.hpp>

sincpro::task<int> twice(int n) { co_return 2 * n; }

int main() { return sincpro::run_async_task(twice); }
