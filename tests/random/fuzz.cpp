// The same programs, chosen by libFuzzer: what it finds to be new is code of the library that ran, or a model that differs.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "random/program.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static random_programs::runner runner;
    random_programs::choices from(data, size);
    const std::string wrong = runner.run(from);
    if (wrong.empty()) return 0;
    std::cerr << wrong << '\n';
    std::abort();
}
