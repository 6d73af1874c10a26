// The floor: a binary heap of deadlines and a thread that sleeps until the first of them.

#include "sleep.hpp"

#include <queue>

namespace {

struct entry {
    double deadline;
    double began;
    int i;

    bool operator<(const entry& other) const { return deadline > other.deadline; }
};

struct heap {
    template <class OnWoken>
    void sleep_all(int count, OnWoken woken) {
        std::priority_queue<entry> entries;
        for (int i = 0; i < count; ++i) {
            double began = bench::wall_ns();
            entries.push({began + bench::duration_ms(i) * 1e6, began, i});
        }
        while (!entries.empty()) {
            double now = bench::wall_ns();
            while (!entries.empty() && entries.top().deadline <= now) {
                woken(entries.top().i, entries.top().began);
                entries.pop();
            }
            if (!entries.empty()) sleep_until(entries.top().deadline);
        }
    }

    static void sleep_until(double deadline) {
        auto ns = static_cast<std::int64_t>(deadline) + 1;
        timespec until{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::sleep_main<heap>(argc, argv); }
