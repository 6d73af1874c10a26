#include "sleep.hpp"

#include <asio.hpp>

namespace {

template <class OnWoken>
asio::awaitable<void> sleeper(int i, OnWoken& woken) {
    double began = bench::wall_ns();
    asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(bench::duration_ms(i)));
    co_await timer.async_wait(asio::use_awaitable);
    woken(i, began);
}

struct asio_timers {
    template <class OnWoken>
    void sleep_all(int count, OnWoken woken) {
        asio::io_context context(1);
        for (int i = 0; i < count; ++i) asio::co_spawn(context, sleeper(i, woken), asio::detached);
        context.run();
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::sleep_main<asio_timers>(argc, argv); }
