// expect: this is a point in time: pass a duration, or to sleep write sleep_until(t)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

int main() {
    sincpro::worker w;
    return w.run(simple(), std::chrono::system_clock::now() + std::chrono::seconds(5));
}
