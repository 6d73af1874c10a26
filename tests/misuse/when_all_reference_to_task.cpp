// expect: a task can be awaited once: pass std::move(x)
#include <sincpro/async_worker.hpp>

sincpro::task<> wrong(sincpro::task<int>& a, sincpro::task<int>& b) { co_await sincpro::when_all(a, b); }
