// expect: neither an awaitable nor a callable without arguments that returns one
#include <sincpro/async_worker.hpp>

int main() {
    return sincpro::run_async_task([](int n) -> sincpro::task<int> { co_return n; });
}
