// The floor of a bridge for many callers: what one writes by hand with a mutex, a condition variable and a promise.

#include "bridge.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>

namespace {

class mutex_loop {
public:
    void start() {
        thread_ = std::thread([this] { run(); });
    }

    template <class F>
    std::future<int> submit(F f) {
        auto promise = std::make_shared<std::promise<int>>();
        auto future = promise->get_future();
        {
            std::lock_guard lock(mutex_);
            jobs_.emplace_back([promise, f] { promise->set_value(f()); });
        }
        wake_.notify_one();
        return future;
    }

    template <class F>
    int call(F f) {
        return submit(f).get();
    }

    ~mutex_loop() {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_one();
        thread_.join();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            auto job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
            job = nullptr;
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> jobs_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) { return bench::bridge_main<mutex_loop>(argc, argv); }
