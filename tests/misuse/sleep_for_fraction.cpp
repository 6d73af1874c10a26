// expect: a time needs a unit: write 5s or 500ms (using namespace std::chrono_literals)
#include <sincpro/async_worker.hpp>

sincpro::task<> wait() { co_await sincpro::sleep_for(0.5); }
