// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

#include <memory>

int take(std::unique_ptr<int> p) { return *p; }

int main() {
    auto operation = sincpro::to_thread(take, std::make_unique<int>(1));
    return sincpro::run_async_task(operation);
}
