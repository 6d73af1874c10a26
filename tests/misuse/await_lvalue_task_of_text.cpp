// expect: a task can be awaited once: write co_await std::move(task)
#include <sincpro/async_worker.hpp>

#include <string>

sincpro::task<std::string> name() { co_return "a"; }

sincpro::task<std::string> wrong() {
    auto t = name();
    std::string text = co_await t;
    co_return text;
}
