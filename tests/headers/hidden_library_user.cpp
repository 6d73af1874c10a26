#include <sincpro/async_worker.hpp>

#include <cstdio>
#include <system_error>

sincpro::task<int> task_of_the_library();

sincpro::task<int> twice() {
    const int first = co_await task_of_the_library();
    bool refused = false;
    try {
        sincpro::run_async_task(task_of_the_library());  // would block this worker's thread
    } catch (const std::system_error&) {
        refused = true;
    }
    const int second = co_await task_of_the_library();
    co_return refused ? first + second : 0;
}

int main() {
    const int got = sincpro::run_async_task(twice());
    std::printf("%d\n", got);
    return got == 8 ? 0 : 1;
}
