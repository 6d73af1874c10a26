#include "sleep.hpp"

#include <sincpro/async_worker.hpp>

namespace {

template <class OnWoken>
sincpro::task<> sleeper(int i, OnWoken& woken) {
    double began = bench::wall_ns();
    co_await sincpro::sleep_for(std::chrono::milliseconds(bench::duration_ms(i)));
    woken(i, began);
}

template <class OnWoken>
sincpro::task<> all_sleepers(int count, OnWoken& woken) {
    std::vector<sincpro::task<>> sleepers;
    sleepers.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) sleepers.push_back(sleeper(i, woken));
    co_await sincpro::when_all(std::move(sleepers));
}

struct ours {
    template <class OnWoken>
    void sleep_all(int count, OnWoken woken) {
        sincpro::run_async_task(all_sleepers(count, woken));
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::sleep_main<ours>(argc, argv); }
