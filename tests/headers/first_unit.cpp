// As Qt defines them.
#define slots
#define signals public

#include <sincpro/async_worker.hpp>

#include <cstdio>
#include <string>

int run_in_second_unit();

int main(int argc, char** argv) {
    using std::to_string;
    const std::string version = to_string(SINCPRO_ASYNC_WORKER_VERSION_MAJOR) + "." +
                                to_string(SINCPRO_ASYNC_WORKER_VERSION_MINOR) + "." +
                                to_string(SINCPRO_ASYNC_WORKER_VERSION_PATCH);
    if (argc != 2 || version != argv[1]) {
        std::printf("the headers say version %s, CMake says %s\n", version.c_str(), argc == 2 ? argv[1] : "nothing");
        return 1;
    }
    const auto two = []() -> sincpro::task<int> { co_return 2; };
    return sincpro::run_async_task(two) == 2 && run_in_second_unit() == 3 ? 0 : 1;
}
