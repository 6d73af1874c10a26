// expect: this is a point in time: pass a duration, or to sleep write sleep_until(t)
#include <sincpro/async_worker.hpp>

using namespace std::chrono_literals;

sincpro::task<int> simple() { co_return 1; }

int main() { return sincpro::run_async_task(simple(), std::chrono::steady_clock::now() + 5s); }
