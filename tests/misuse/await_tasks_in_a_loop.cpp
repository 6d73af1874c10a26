// expect: a task can be awaited once: write co_await std::move(task)
#include <sincpro/async_worker.hpp>

sincpro::task<int> wrong(std::vector<sincpro::task<int>> tasks) {
    int sum = 0;
    for (auto& t : tasks) {
        const int n = co_await t;
        sum += n;
    }
    co_return sum;
}
