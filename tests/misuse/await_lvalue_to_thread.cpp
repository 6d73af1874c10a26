// expect: this can be awaited once: write co_await std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<> wrong() {
    auto blocking = sincpro::to_thread([] {});
    co_await blocking;
}
