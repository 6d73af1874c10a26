// With OWN_PROMISE a completion handler sets a promise: asio::use_future wakes the caller and goes on with the loop,
// which costs two more changes of thread where both share a CPU.

#include "bridge.hpp"

#include <asio.hpp>

namespace {

template <class F>
asio::awaitable<int> run_it(F f) {
    co_return f();
}

class asio_loop {
public:
    void start() {
        thread_ = std::thread([this] { context_.run(); });
    }

    template <class F>
    std::future<int> submit(F f) {
#ifdef OWN_PROMISE
        auto promise = std::make_shared<std::promise<int>>();
        auto future = promise->get_future();
        asio::co_spawn(context_, run_it(f), [promise](std::exception_ptr error, int value) {
            error ? promise->set_exception(error) : promise->set_value(value);
        });
        return future;
#else
        return asio::co_spawn(context_, run_it(f), asio::use_future);
#endif
    }

    template <class F>
    int call(F f) {
        return submit(f).get();
    }

    ~asio_loop() {
        work_.reset();
        thread_.join();
    }

private:
    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
    std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) { return bench::bridge_main<asio_loop>(argc, argv); }
