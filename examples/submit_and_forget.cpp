// Work that the caller does not wait for: a dropped task goes on by itself, and what fails is reported.
// g++ -std=c++20 -Iinclude examples/submit_and_forget.cpp -o submit_and_forget -pthread && ./submit_and_forget
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <exception>
#include <future>
#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

void print(const std::string& line) { std::cout << line + '\n'; }

sincpro::task<> write_audit(std::string event) {
    co_await sincpro::sleep_for(20ms);  // stands for I/O
    if (event.empty()) {
        throw std::invalid_argument("an audit record needs a text");
    }
    print("audit: " + event);
}

int main() {
    std::promise<void> reported;
    sincpro::worker_options options;
    options.name = "audits";
    options.on_unobserved_exception = [&](std::exception_ptr error) {  // on the worker thread
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& failure) {
            print(std::string("lost audit: ") + failure.what());
        }
        reported.set_value();
    };
    sincpro::worker audits(options);

    audits.submit(write_audit("logged in"));
    audits.submit(write_audit(""));
    auto payment = audits.submit(write_audit("paid"));  // kept: this one must not get lost
    print("the caller goes on");

    payment.get();  // at the end the worker cancels what has not finished
    reported.get_future().get();
}
