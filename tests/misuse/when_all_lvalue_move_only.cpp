// expect: this cannot be copied: pass std::move(x)
#include <sincpro/async_worker.hpp>

#include "move_only.hpp"

sincpro::task<> all() {
    move_only m;
    co_await sincpro::when_all(m);
}
