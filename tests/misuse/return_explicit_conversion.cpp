// expect: return_value
#include <sincpro/async_worker.hpp>

#include <vector>

sincpro::task<std::vector<int>> wrong() { co_return 5; }
