// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

#include <memory>

int main() {
    auto f = [p = std::make_unique<int>(1)]() -> sincpro::task<int> { co_return *p; };
    return sincpro::run_async_task(f);
}
