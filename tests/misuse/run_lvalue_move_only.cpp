// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

#include "move_only.hpp"

int main() {
    move_only m;
    return sincpro::run_async_task(m);
}
