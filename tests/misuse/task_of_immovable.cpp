// expect: a task's result must be movable: return a std::unique_ptr to it
// errors: 2
#include <sincpro/async_worker.hpp>

struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
};

sincpro::task<immovable> wrong() { co_return {}; }
