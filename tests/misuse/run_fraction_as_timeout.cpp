// expect: a time needs a unit: write 5s or 500ms (using namespace std::chrono_literals)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

int main() { return sincpro::run_async_task(simple(), 5.0); }
