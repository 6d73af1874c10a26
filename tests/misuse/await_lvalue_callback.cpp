// expect: this can be awaited once: write co_await std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<> wrong() {
    auto called = sincpro::await_callback<>([](sincpro::completion<> done) { done(); });
    co_await called;
}
