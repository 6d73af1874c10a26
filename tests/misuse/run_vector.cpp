// expect: many tasks are awaited as one: when_all(std::move(tasks))
#include <sincpro/async_worker.hpp>

int main() {
    std::vector<sincpro::task<int>> tasks;
    sincpro::run_async_task(std::move(tasks));
}
