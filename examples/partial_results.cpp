// when_all with partial results: with as_result around each child, one that fails or hangs costs only its own answer.
// g++ -std=c++20 -Iinclude examples/partial_results.cpp -o partial_results -pthread && ./partial_results
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using sincpro::task;

task<int> price(std::string shop) {
    co_await sincpro::sleep_for(shop == "far shop" ? 1h : 20ms);  // stands for I/O
    if (shop == "closed shop") {
        throw std::runtime_error("opens at nine");
    }
    co_return static_cast<int>(10 * shop.size());
}

task<sincpro::result<int>> ask(std::string shop) {
    co_return co_await sincpro::as_result(sincpro::with_timeout(price(shop), 1s));
}

int main() {
    const std::vector<std::string> shops{"corner shop", "closed shop", "far shop", "big shop"};
    std::vector<task<sincpro::result<int>>> asked;
    for (const auto& shop : shops) {
        asked.push_back(ask(shop));
    }

    auto prices = sincpro::run_async_task(sincpro::when_all(std::move(asked)), 10s);

    for (std::size_t i = 0; i < shops.size(); ++i) {
        std::cout << shops[i] << ": ";
        try {
            std::cout << prices[i].value() << " euros\n";
        } catch (const std::exception& error) {
            std::cout << "no price, " << error.what() << '\n';
        }
    }
}
