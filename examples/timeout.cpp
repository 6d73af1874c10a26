// Timeouts: of the whole call, of one step inside it, and what the error tells.
// g++ -std=c++20 -Iinclude examples/timeout.cpp -o timeout -pthread && ./timeout
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>

using namespace std::chrono_literals;
using sincpro::task;

struct connection {
    std::string to;
    explicit connection(std::string host) : to(std::move(host)) {}
    connection(const connection&) = delete;
    ~connection() { std::cout << "connection to " << to << " closed\n"; }
};

task<std::string> load(std::string host, std::chrono::milliseconds io) {
    connection server(host);
    co_await sincpro::sleep_for(io);  // stands for I/O
    co_return "page of " + host;
}

task<std::string> load_or_default() {
    try {
        co_return co_await sincpro::with_timeout(load("slow host", 1h), 50ms);
    } catch (const sincpro::timeout_error&) {
        co_return "default page";
    }
}

int main() {
    std::cout << sincpro::run_async_task(load("fast host", 10ms), 5s) << "\n\n";

    try {
        std::cout << sincpro::run_async_task(load("dead host", 1h), 100ms) << '\n';
    } catch (const sincpro::timeout_error& error) {
        std::cout << error.what() << '\n';
        for (const auto& place : error.suspended_at()) {
            std::cout << "  it waited in " << place.function << ", line " << place.line << '\n';
        }
        // If false, the task did not stop within worker_options::cancel_grace and may still use what it refers to.
        std::cout << "  it has stopped: " << std::boolalpha << error.task_stopped() << "\n\n";
    }

    std::cout << sincpro::run_async_task(load_or_default(), 5s) << '\n';
}
