#pragma once

// std::function and std::reference_wrapper. libstdc++ has them in <future> too, without the rest of <functional>, which would
// take an eighth of the time in which a file is compiled that includes the library.
#include <future>

#if !defined(__GLIBCXX__)
#include <functional>
#endif
