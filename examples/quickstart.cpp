// Two coroutines at once, called from a synchronous main, and one that takes too long.
// g++ -std=c++20 -Iinclude examples/quickstart.cpp -o quickstart -pthread && ./quickstart
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

sincpro::task<std::string> fetch(std::string what, std::chrono::milliseconds io) {
    co_await sincpro::sleep_for(io);  // stands for I/O
    co_return what;
}

int main() {
    const auto begin = std::chrono::steady_clock::now();
    const auto [user, cart] =
        sincpro::run_async_task(sincpro::when_all(fetch("user", 300ms), fetch("cart", 200ms)), 1s);
    const auto took = std::chrono::steady_clock::now() - begin;
    std::cout << user << " and " << cart << " after " << took / 1ms << " ms, not 500\n";
    try {
        std::cout << sincpro::run_async_task(fetch("report", 5s), 100ms) << '\n';
    } catch (const sincpro::timeout_error& error) {
        std::cout << error.what() << '\n';
    }
}
