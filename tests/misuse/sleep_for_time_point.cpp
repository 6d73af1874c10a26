// expect: this is a point in time: pass a duration, or to sleep write sleep_until(t)
#include <sincpro/async_worker.hpp>

using namespace std::chrono_literals;

sincpro::task<> wait() { co_await sincpro::sleep_for(std::chrono::steady_clock::now() + 5s); }
