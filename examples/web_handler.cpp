// A synchronous web framework (cpp-httplib) whose handler asks several backends at once, at most 8 at a time, and
// answers within a deadline with what has arrived, even if one backend hangs and one fails.
// g++ -std=c++20 -Iinclude examples/web_handler.cpp -o web_handler -pthread $(pkg-config --cflags --libs cpp-httplib)
#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <httplib.h>

using namespace std::chrono_literals;
using sincpro::task;
using std::chrono::milliseconds;

// The framework's own client: it blocks.
std::string ask_blocking(const std::string& url, milliseconds limit) {
    const std::size_t path = std::min(url.find('/', std::string("http://").size()), url.size());
    httplib::Client client(url.substr(0, path));
    client.set_connection_timeout(limit);
    client.set_read_timeout(limit);
    const auto answer = client.Get((path < url.size() ? url.substr(path) : "/").c_str());
    if (!answer) throw std::runtime_error("request failed: " + httplib::to_string(answer.error()));
    if (answer->status != 200) throw std::runtime_error("status " + std::to_string(answer->status));
    return answer->body;
}

task<std::string> ask(sincpro::semaphore& slots, std::string url, milliseconds limit) {
    const auto slot = co_await slots.acquire();
    // At the deadline the handler goes on at once; the client ends by itself a little later.
    co_return co_await sincpro::to_thread(sincpro::abandon_on_cancel, ask_blocking, url, limit + 1s);
}

task<sincpro::result<std::string>> attempt(sincpro::semaphore& slots, std::string url, milliseconds limit) {
    co_return co_await sincpro::as_result(sincpro::with_timeout(ask(slots, url, limit), limit));
}

task<std::string> ask_all(std::vector<std::string> backends, milliseconds limit) {
    sincpro::semaphore slots(8);
    std::vector<task<sincpro::result<std::string>>> attempts;
    for (const std::string& url : backends) {
        attempts.push_back(attempt(slots, url, limit));
    }
    auto answers = co_await sincpro::when_all(std::move(attempts));

    std::string page;
    for (std::size_t i = 0; i < backends.size(); ++i) {
        page += backends[i] + ": ";
        try {
            page += answers[i].value() + '\n';
        } catch (const std::exception& error) {
            page += std::string("no answer, ") + error.what() + '\n';
        }
    }
    co_return page;
}

int main(int argc, char** argv) {
    milliseconds limit = 2s;
    std::vector<std::string> backends(argv + 1, argv + argc);
    if (backends.size() >= 2 && backends[0] == "-t") {
        limit = std::chrono::seconds(std::atol(backends[1].c_str()));
        backends.erase(backends.begin(), backends.begin() + 2);
    }

    httplib::Server server;
    server.Get("/", [&](const httplib::Request&, httplib::Response& response) {
        try {
            response.set_content(sincpro::run_async_task(ask_all(backends, limit), 2 * limit), "text/plain");
        } catch (const std::exception& error) {
            response.status = 503;
            response.set_content(error.what(), "text/plain");
        }
    });
    const int port = server.bind_to_any_port("127.0.0.1");
    if (port <= 0) {
        std::cerr << "cannot bind to a port of 127.0.0.1\n";
        return 1;
    }
    std::thread serving([&] { server.listen_after_bind(); });
    std::cout << "http://127.0.0.1:" << port << "/ answers until standard input ends" << std::endl;
    std::cin.ignore(std::numeric_limits<std::streamsize>::max());

    while (!server.is_running()) {  // stop() before that would be without effect
        std::this_thread::yield();
    }
    server.stop();
    serving.join();
}
