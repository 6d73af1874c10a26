// libuv has no bridge of its own: a queue under a mutex, uv_async_send to wake the loop, and a promise for the way
// back.

#include "bridge.hpp"

#include <functional>
#include <future>
#include <memory>
#include <mutex>

#include <uv.h>

namespace {

class uv_thread {
public:
    uv_thread() {
        uv_loop_init(&loop_);
        uv_async_init(&loop_, &wake_, [](uv_async_t* handle) { static_cast<uv_thread*>(handle->data)->drain(); });
        wake_.data = this;
    }

    void start() {
        thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
    }

    template <class F>
    std::future<int> submit(F f) {
        auto promise = std::make_shared<std::promise<int>>();
        auto future = promise->get_future();
        enqueue([promise, f] { promise->set_value(f()); });
        return future;
    }

    template <class F>
    int call(F f) {
        return submit(f).get();
    }

    ~uv_thread() {
        enqueue([this] { uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr); });
        thread_.join();
        uv_loop_close(&loop_);
    }

private:
    void enqueue(std::function<void()> job) {
        {
            std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        uv_async_send(&wake_);
    }

    void drain() {
        std::vector<std::function<void()>> taken;
        {
            std::lock_guard lock(mutex_);
            taken.swap(jobs_);
        }
        for (auto& job : taken) {
            job();
            job = nullptr;
        }
    }

    uv_loop_t loop_;
    uv_async_t wake_;
    std::mutex mutex_;
    std::vector<std::function<void()>> jobs_;
    std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) { return bench::bridge_main<uv_thread>(argc, argv); }
