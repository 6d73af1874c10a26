#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>

#include <chrono>

// A library that calls in a static constructor, while it is being loaded.

namespace {

sincpro::task<int> configuration() {
    co_await sincpro::sleep_for(std::chrono::milliseconds(1));
    co_return 34;
}

const int configured = sincpro::run_async_task(configuration());

}  // namespace

extern "C" int configured_value() { return configured; }
