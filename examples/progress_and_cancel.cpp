// Progress of a running task seen from outside, and cancelling it: by its future, and by a std::stop_token.
// g++ -std=c++20 -Iinclude examples/progress_and_cancel.cpp -o progress_and_cancel -pthread && ./progress_and_cancel
#include <sincpro/async_worker.hpp>

#include <atomic>
#include <chrono>
#include <iostream>
#include <stop_token>
#include <thread>

using namespace std::chrono_literals;

sincpro::task<int> copy_files(int count, std::atomic<int>& copied) {
    for (int file = 0; file < count; ++file) {
        co_await sincpro::sleep_for(1ms);  // stands for I/O
        ++copied;
        copied.notify_all();
    }
    co_return count;
}

void wait_for_progress(std::atomic<int>& copied, int files) {
    for (int seen = copied; seen < files; seen = copied) {
        copied.wait(seen);
    }
    std::cout << "at least " << files << " files copied, cancelling\n";
}

int main() {
    std::atomic<int> copied{0};

    auto job = sincpro::submit_async_task(copy_files(1'000'000, copied));
    wait_for_progress(copied, 3);
    job.cancel();
    try {
        std::cout << job.get() << " files copied\n";
    } catch (const sincpro::operation_cancelled& error) {
        std::cout << "by its future: " << error.what() << '\n';
    }

#ifdef __cpp_lib_jthread
    copied = 0;
    std::stop_source stop;
    std::thread user([&] {
        wait_for_progress(copied, 5);
        stop.request_stop();
    });
    try {
        const int files = sincpro::run_async_task(sincpro::stop_when(copy_files(1'000'000, copied), stop.get_token()));
        std::cout << files << " files copied\n";
    } catch (const sincpro::operation_cancelled& error) {
        std::cout << "by a stop token: " << error.what() << '\n';
    }
    user.join();
#endif
}
