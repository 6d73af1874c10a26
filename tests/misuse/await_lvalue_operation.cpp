// expect: this can be awaited once: write co_await std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<int> simple() { co_return 1; }

sincpro::task<> wrong() {
    auto both = sincpro::when_all(simple(), simple());
    co_await both;
}
