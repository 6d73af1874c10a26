#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

sincpro::task<int> answer() {
    co_await sincpro::sleep_for(1ms);
    co_return 42;
}

int main() {
    const int result = sincpro::run_async_task(answer(), 60s);
    std::printf("consumed: %d\n", result);
    return result == 42 ? 0 : 1;
}
