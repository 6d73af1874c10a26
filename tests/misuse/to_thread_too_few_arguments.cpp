// expect: to_thread(f, args...): f cannot be called with these arguments
#include <sincpro/async_worker.hpp>

int add(int a, int b) { return a + b; }

int main() { return sincpro::run_async_task(sincpro::to_thread(add, 1)); }
