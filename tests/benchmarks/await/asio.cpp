#include <benchmark/benchmark.h>
#include <asio.hpp>

namespace {

[[gnu::noinline]] asio::awaitable<int> child(int value) { co_return value; }

asio::awaitable<void> await_children(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(co_await child(1));
}

// This version has no when_all over a vector: a timer that never expires is cancelled by the last child.
asio::awaitable<std::vector<int>> all(std::vector<asio::awaitable<int>> children) {
    auto executor = co_await asio::this_coro::executor;
    asio::steady_timer done(executor, asio::steady_timer::time_point::max());
    std::vector<int> results(children.size());
    std::size_t running = children.size();
    for (std::size_t i = 0; i < results.size(); ++i) {
        asio::co_spawn(executor, std::move(children[i]), [&, i](std::exception_ptr, int value) {
            results[i] = value;
            if (--running == 0) done.cancel();
        });
    }
    asio::error_code cancelled;
    co_await done.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
    co_return results;
}

asio::awaitable<void> await_all(benchmark::State& state) {
    for (auto _ : state) {
        std::vector<asio::awaitable<int>> children;
        children.reserve(static_cast<std::size_t>(state.range(0)));
        for (int i = 0; i < state.range(0); ++i) children.push_back(child(i));
        auto results = co_await all(std::move(children));
        benchmark::DoNotOptimize(results.data());
    }
}

void run(asio::awaitable<void> whole) {
    asio::io_context context(1);
    asio::co_spawn(context, std::move(whole), asio::detached);
    context.run();
}

void await_child(benchmark::State& state) { run(await_children(state)); }
void when_all(benchmark::State& state) { run(await_all(state)); }

BENCHMARK(await_child);
BENCHMARK(when_all)->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
