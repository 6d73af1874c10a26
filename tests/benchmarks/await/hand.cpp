// The floor of an await and of a when_all: by hand, with frames from malloc, and for comparison with recycled ones.

#include "hand_task.hpp"

#include <benchmark/benchmark.h>

namespace {

template <class Frames>
[[gnu::noinline]] by_hand::task<Frames> child(int value) {
    co_return value;
}

template <class Frames>
by_hand::task<Frames> await_children(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(co_await child<Frames>(1));
    co_return 0;
}

template <class Frames>
by_hand::task<Frames> await_all(benchmark::State& state) {
    for (auto _ : state) {
        std::vector<by_hand::task<Frames>> children;
        children.reserve(static_cast<std::size_t>(state.range(0)));
        for (int i = 0; i < state.range(0); ++i) children.push_back(child<Frames>(i));
        by_hand::when_all<Frames> all(std::move(children));
        auto results = co_await all;
        benchmark::DoNotOptimize(results.data());
    }
    co_return 0;
}

template <class Frames>
void await_child(benchmark::State& state) {
    await_children<Frames>(state).run();
}

template <class Frames>
void when_all(benchmark::State& state) {
    await_all<Frames>(state).run();
}

BENCHMARK_TEMPLATE(await_child, by_hand::from_malloc)->Name("await_child");
BENCHMARK_TEMPLATE(when_all, by_hand::from_malloc)->Name("when_all")->Arg(1000);
BENCHMARK_TEMPLATE(await_child, by_hand::recycled)->Name("await_child_recycled");
BENCHMARK_TEMPLATE(when_all, by_hand::recycled)->Name("when_all_recycled")->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
