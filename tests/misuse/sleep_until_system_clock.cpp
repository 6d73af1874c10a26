// expect: sleep_until takes a time of std::chrono::steady_clock, which is never set
#include <sincpro/async_worker.hpp>

using namespace std::chrono_literals;

sincpro::task<> wait() { co_await sincpro::sleep_until(std::chrono::system_clock::now() + 5s); }
