// expect: a task can be awaited once: pass std::move(x)
#include <sincpro/async_worker.hpp>

#include <string>

sincpro::task<std::string> name() { co_return "a"; }

std::string wrong() {
    auto t = name();
    std::string text = sincpro::run_async_task(t);
    return text;
}
