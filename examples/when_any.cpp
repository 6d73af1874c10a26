// when_any: the first to finish wins; the others are cancelled and have unwound before it returns.
// g++ -std=c++20 -Iinclude examples/when_any.cpp -o when_any -pthread && ./when_any
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using sincpro::task;

struct connection {
    std::string to;
    explicit connection(std::string mirror) : to(std::move(mirror)) {}
    connection(const connection&) = delete;
    ~connection() { std::cout << "  connection to " << to << " closed\n"; }
};

task<std::string> download(std::string mirror, std::chrono::milliseconds io) {
    connection server(mirror);
    co_await sincpro::sleep_for(io);  // stands for I/O
    co_return "file from " + mirror;
}

task<int> cached_size() {
    co_await sincpro::yield();
    co_return 4096;
}

int main() {
    // Any number of the same kind: the index of the winner and its value.
    std::vector<task<std::string>> mirrors;
    mirrors.push_back(download("Lima", 1h));
    mirrors.push_back(download("La Paz", 20ms));
    mirrors.push_back(download("Quito", 2h));
    const auto winner = sincpro::run_async_task(sincpro::when_any(std::move(mirrors)), 10s);
    std::cout << "number " << winner.first << " won: " << winner.second << "\n\n";

    // Different kinds: a variant in the order of the arguments.
    const auto answer = sincpro::run_async_task(sincpro::when_any(download("Sucre", 1h), cached_size()), 10s);
    if (answer.index() == 1) {
        std::cout << "from the cache: " << std::get<1>(answer) << " bytes\n";
    } else {
        std::cout << std::get<0>(answer) << '\n';
    }
}
