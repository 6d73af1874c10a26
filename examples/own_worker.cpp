// Own workers: one thread with one loop each, so that what blocks one of them does not hold up another.
// g++ -std=c++20 -Iinclude examples/own_worker.cpp -o own_worker -pthread && ./own_worker
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <future>
#include <iostream>
#include <string>

#include <pthread.h>

using namespace std::chrono_literals;
using sincpro::task;

std::string thread_name() {
    char name[64] = "";
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return name;
}

task<std::string> answer() {
    co_await sincpro::yield();
    co_return "answered on thread " + thread_name();
}

task<std::string> slow_report(std::future<void> paper) {
    paper.wait();  // blocks the loop, as a task should not
    co_return "printed on thread " + thread_name();
}

int main() {
    sincpro::worker_options options;
    options.name = "requests";
    options.cancel_grace = 1s;
    sincpro::worker requests(options);
    options.name = "reports";
    sincpro::worker reports(options);  // nothing is started yet

    std::promise<void> paper;
    auto report = reports.submit(slow_report(paper.get_future()));
    std::cout << requests.run(answer(), 10s) << '\n';  // while the other one is blocked
    paper.set_value();
    std::cout << report.get() << '\n';

    requests.shutdown();
    std::cout << "requests is " << (requests.is_running() ? "running" : "stopped") << '\n';
    std::cout << requests.run(answer(), 10s) << " again\n";  // starts it again
}
