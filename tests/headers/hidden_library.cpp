#include <sincpro/async_worker.hpp>

#include <chrono>

// A library that hides its symbols, but for this.
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
sincpro::task<int>
task_of_the_library() {
    co_await sincpro::sleep_for(std::chrono::milliseconds(1));
    co_return sincpro::cancellation_requested() ? 0 : 4;
}
