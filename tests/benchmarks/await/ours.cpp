#include <sincpro/async_worker.hpp>

#include <benchmark/benchmark.h>

namespace {

[[gnu::noinline]] sincpro::task<int> child(int value) { co_return value; }

sincpro::task<> await_children(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(co_await child(1));
}

sincpro::task<> await_all(benchmark::State& state) {
    for (auto _ : state) {
        std::vector<sincpro::task<int>> children;
        children.reserve(static_cast<std::size_t>(state.range(0)));
        for (int i = 0; i < state.range(0); ++i) children.push_back(child(i));
        auto results = co_await sincpro::when_all(std::move(children));
        benchmark::DoNotOptimize(results.data());
    }
}

// The loop over `state` runs in the task, on the worker's thread, so that no round trip is measured.
void await_child(benchmark::State& state) { sincpro::run_async_task(await_children(state)); }
void when_all(benchmark::State& state) { sincpro::run_async_task(await_all(state)); }

BENCHMARK(await_child);
BENCHMARK(when_all)->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
