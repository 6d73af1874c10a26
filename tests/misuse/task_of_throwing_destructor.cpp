// expect: a task's result must have a destructor that does not throw
#include <sincpro/async_worker.hpp>

struct fragile {
    ~fragile() noexcept(false) {}
};

sincpro::task<fragile> wrong() { co_return fragile(); }
