// Existing blocking clients asked in parallel: each call on a helper thread, at most 3 at a time.
// g++ -std=c++20 -Iinclude examples/blocking_clients.cpp -o blocking_clients -pthread && ./blocking_clients
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using sincpro::task;

// The client that is there already; it knows nothing of coroutines.
std::string blocking_query(const std::string& server) {
    std::this_thread::sleep_for(200ms);
    return server + " has " + std::to_string(server.size()) + " orders";
}

task<std::string> query(sincpro::semaphore& slots, std::string server) {
    const auto slot = co_await slots.acquire();
    co_return co_await sincpro::to_thread(blocking_query, server);
}

task<std::vector<std::string>> query_all(std::vector<std::string> servers) {
    sincpro::semaphore slots(3);
    std::vector<task<std::string>> queries;
    for (const auto& server : servers) {
        queries.push_back(query(slots, server));
    }
    co_return co_await sincpro::when_all(std::move(queries));
}

int main() {
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<std::string> servers{"Oruro", "Tarija", "Potosi", "Sucre", "Beni", "Pando"};
    for (const auto& answer : sincpro::run_async_task(query_all(servers), 30s)) {
        std::cout << answer << '\n';
    }
    const auto took = std::chrono::steady_clock::now() - begin;
    std::cout << "6 queries of 200 ms took " << took / 1ms << " ms, not 1200\n";
}
