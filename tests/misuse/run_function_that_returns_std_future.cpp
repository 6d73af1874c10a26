// expect: a callable without arguments that returns one. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

int main() {
    return sincpro::run_async_task([] { return std::async([] { return 1; }); });
}
