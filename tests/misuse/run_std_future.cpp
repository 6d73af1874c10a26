// expect: a future blocks: await the task itself, or to_thread([](auto f) { return f.get(); }, std::move(future))
#include <sincpro/async_worker.hpp>

int main() {
    return sincpro::run_async_task(std::async([] { return 1; }));
}
