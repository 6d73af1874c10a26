// expect: a callable without arguments that returns one. A blocking function? await to_thread(f) in a task
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> wrong() {
    const int n = co_await simple();
    const auto r = co_await sincpro::as_result(n);
}
