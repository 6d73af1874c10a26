// Retry with a growing pause, all attempts and pauses together under one timeout.
// g++ -std=c++20 -Iinclude examples/retry.cpp -o retry -pthread && ./retry
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;
using sincpro::task;

task<std::string> call(int& failures_left) {
    co_await sincpro::sleep_for(1ms);  // stands for I/O
    if (failures_left > 0) {
        --failures_left;
        throw std::runtime_error("connection reset");
    }
    co_return "answer";
}

task<std::string> retry_call(int failures, int tries, std::chrono::milliseconds pause) {
    for (;;) {
        auto outcome = co_await sincpro::as_result(call(failures));
        if (outcome || --tries == 0) {
            co_return outcome.value();
        }
        std::cout << "  failed, next try in " << pause.count() << " ms\n";
        co_await sincpro::sleep_for(pause);  // throws in a cancelled task: a timeout is not tried again
        pause *= 2;
    }
}

int main() {
    std::cout << "three failures, five tries\n";
    std::cout << sincpro::run_async_task(retry_call(3, 5, 10ms), 10s) << '\n';

    std::cout << "three failures, two tries\n";
    try {
        std::cout << sincpro::run_async_task(retry_call(3, 2, 10ms), 10s) << '\n';
    } catch (const std::runtime_error& error) {
        std::cout << "gave up: " << error.what() << '\n';
    }

    std::cout << "three failures, five tries, too little time\n";
    try {
        std::cout << sincpro::run_async_task(retry_call(3, 5, 1h), 200ms) << '\n';
    } catch (const sincpro::timeout_error& error) {
        std::cout << error.what() << '\n';
    }
}
