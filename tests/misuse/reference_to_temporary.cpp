// expect: the result would refer to a temporary: let the task return a value
#include <sincpro/async_worker.hpp>

#include <string>

sincpro::task<const std::string&> name() { co_return std::string("a"); }
