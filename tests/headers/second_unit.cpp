#include <sincpro/async_worker.hpp>

namespace {

sincpro::task<int> three() { co_return 3; }

}  // namespace

int run_in_second_unit();
int run_in_second_unit() { return sincpro::run_async_task(three()); }
