// A C library with callbacks, awaited: its answer, its error, and aborting a request that takes too long.
// g++ -std=c++20 -Iinclude examples/callback.cpp -o callback -pthread && ./callback
#include <sincpro/async_worker.hpp>

#include <cerrno>
#include <chrono>
#include <exception>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

using namespace std::chrono_literals;
using sincpro::completion;

class sensor {  // stands for the library: it calls back from a thread of its own, and its destructor waits for that
public:
    using callback = void (*)(void* user, int error, double celsius);
    void read(const std::string& place, callback call, void* user) {
        request_ = std::async(std::launch::async, [this, place, call, user] {
            if (place == "cellar") aborted_.get_future().wait();  // the sensor there never answers
            call(user, place == "cellar" ? ECANCELED : place == "roof" ? EIO : 0, 21.5);
        });
    }
    void abort() { aborted_.set_value(); }

private:
    std::promise<void> aborted_;
    std::future<void> request_;
};

void on_read(void* user, int error, double celsius) {
    const std::unique_ptr<completion<double>> done(static_cast<completion<double>*>(user));
    if (error != 0) {
        done->fail(std::make_exception_ptr(std::system_error(error, std::generic_category())));
    } else {
        (*done)(celsius);
    }
}

sincpro::task<double> temperature(std::string place) {
    sensor device;
    auto begin = [&](completion<double> done) {
        done.on_cancel([&device] { device.abort(); });  // from here on the task waits for on_read in any case
        auto user = std::make_unique<completion<double>>(std::move(done));
        device.read(place, on_read, user.get());
        static_cast<void>(user.release());  // on_read owns it now
    };
    co_return co_await sincpro::await_callback<double>(begin);
}

int main() {
    for (const char* place : {"kitchen", "roof", "cellar"}) {
        std::cout << place << ": ";
        try {
            std::cout << sincpro::run_async_task(temperature(place), 2s) << " degrees\n";
        } catch (const std::exception& error) {
            std::cout << error.what() << '\n';
        }
    }
}
