#pragma once

#include <exception>
#include <stdexcept>

namespace support {

/// What `f` throws; null if it returns. Two are equal if they are the same exception object.
template <class F>
std::exception_ptr thrown_by(F&& f) {
    try {
        (void)f();
    } catch (...) {
        return std::current_exception();
    }
    return nullptr;
}

/// The E that `f` throws, sliced to an E. Anything else that it throws goes through.
template <class E, class F>
E thrown(F&& f) {
    try {
        (void)f();
    } catch (const E& error) {
        return error;
    }
    throw std::logic_error("nothing was thrown");
}

}  // namespace support
