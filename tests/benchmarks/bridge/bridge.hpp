#pragma once

#include "../bench.hpp"

#include <atomic>
#include <barrier>
#include <future>

/// The work of the bridge, the same for all who take part. A `contender` is a thread that runs what other threads hand
/// it:
///
///     void start();              // the thread runs, where the calling thread is pinned to
///     int call(f);               // f() there, as a coroutine where it has coroutines; blocks until the result is here
///     auto submit(f) -> future;  // the same without waiting; absent where there is only the ping-pong
///
/// `f` is an `int()` that is cheap to copy.
namespace bench {

template <class C>
concept submits = requires(C& c) {
    c.submit([] { return 1; });
};

template <class C>
int round_trips(C& contender, const std::string& placement, double milliseconds) {
    auto cpus = usable_cpus();
    if (placement != "unpinned") pin(placement == "split" ? cpus.at(1) : cpus.at(0));
    contender.start();
    if (placement != "unpinned") pin(cpus.at(0));

    constexpr int batch = 8;
    for (int i = 0; i < 200; ++i) keep(contender.call([i] { return i; }));
    double calls = 0;
    double start = wall_ns(), now = start;
    while (now - start < milliseconds * 1e6) {
        for (int i = 0; i < batch; ++i) keep(contender.call([i] { return i; }));
        calls += batch;
        now = wall_ns();
    }
    report("ns", (now - start) / calls);
    return 0;
}

template <class C>
int callers(C& contender, int threads, double milliseconds) {
    contender.start();
    keep(contender.call([] { return 1; }));
    std::barrier together(threads + 1);
    std::atomic<bool> stop{false};
    std::vector<double> calls(static_cast<std::size_t>(threads));
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
        pool.emplace_back([&, t] {
            double mine = 0;
            together.arrive_and_wait();
            while (!stop.load(std::memory_order_relaxed)) {
                keep(contender.call([t] { return t; }));
                ++mine;
            }
            calls[static_cast<std::size_t>(t)] = mine;
        });
    }
    together.arrive_and_wait();
    double cpu = cpu_ns(), start = wall_ns();
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
    stop = true;
    for (auto& thread : pool) thread.join();
    double elapsed = wall_ns() - start;
    cpu = cpu_ns() - cpu;
    double sum = 0;
    for (double mine : calls) sum += mine;
    report("calls_per_s", sum / elapsed * 1e9);
    report("cpu_ns", cpu / sum);
    report("fairness", *std::min_element(calls.begin(), calls.end()) / *std::max_element(calls.begin(), calls.end()));
    return 0;
}

template <submits C>
int submit_and_collect(C& contender, int tasks) {
    contender.start();
    keep(contender.call([] { return 1; }));
    using future = decltype(contender.submit([] { return 1; }));
    double before = status_bytes("VmRSS:");
    double start = wall_ns();
    long long sum = 0;
    {
        std::vector<future> futures;
        futures.reserve(static_cast<std::size_t>(tasks));
        for (int i = 0; i < tasks; ++i) futures.push_back(contender.submit([i] { return i; }));
        for (auto& one : futures) sum += one.get();
    }
    double elapsed = wall_ns() - start;
    if (sum != static_cast<long long>(tasks) * (tasks - 1) / 2) return 1;
    report("ns", elapsed / tasks);
    report("bytes", (status_bytes("VmHWM:") - before) / tasks);
    return 0;
}

/// `tasks` that wait all at the same time: the thread is held up until the last of them is submitted.
template <submits C>
int pending_tasks(C& contender, int tasks, double milliseconds) {
    contender.start();
    keep(contender.call([] { return 1; }));
    using future = decltype(contender.submit([] { return 1; }));
    auto peak = find_counter("benchmark_peak_bytes"), live = find_counter("benchmark_live_bytes");
    std::vector<double> times;
    double start = wall_ns();
    do {
        auto bytes = live ? live() : 0;
        std::promise<int> gate;
        auto held_up = contender.submit([&gate] { return gate.get_future().get(); });
        double began = wall_ns();
        std::vector<future> futures;
        futures.reserve(static_cast<std::size_t>(tasks));
        for (int i = 0; i < tasks; ++i) futures.push_back(contender.submit([i] { return i; }));
        gate.set_value(0);
        for (auto& one : futures) keep(one.get());
        times.push_back((wall_ns() - began) / tasks);
        held_up.get();
        if (peak) {
            report("bytes", static_cast<double>(peak() - bytes) / tasks);
            return 0;
        }
    } while (wall_ns() - start < milliseconds * 1e6);
    report("ns", median(std::move(times)));
    return 0;
}

template <class C>
int count_allocations(C& contender, int calls) {
    auto count = find_counter("benchmark_allocations");
    if (!count) return 1;
    contender.start();
    for (int i = 0; i < 1000; ++i) keep(contender.call([i] { return i; }));
    auto before = count();
    for (int i = 0; i < calls; ++i) keep(contender.call([i] { return i; }));
    report("allocations", static_cast<double>(count() - before) / calls);
    return 0;
}

/// What a thread with nothing to do costs, and a caller that waits for it, without what this thread spends on sleeping.
template <class C>
int idle(C& contender, double milliseconds) {
    contender.start();
    for (int i = 0; i < 100; ++i) keep(contender.call([i] { return i; }));
    auto others_us_per_second = [&] {
        auto others = [] { return cpu_ns() - clock_ns(CLOCK_THREAD_CPUTIME_ID); };
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        double before = others();
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
        return std::max(0.0, others() - before) / milliseconds;
    };
    report("idle_us_per_s", others_us_per_second());

    std::atomic<bool> inside{false};
    std::promise<int> gate;
    std::thread caller([&] {
        contender.call([&] {
            inside = true;
            return gate.get_future().get();
        });
    });
    while (!inside) std::this_thread::yield();
    report("waiting_us_per_s", others_us_per_second());
    gate.set_value(0);
    caller.join();
    return 0;
}

/// `calls` blocking calls and nothing else, for a tracer.
template <class C>
int just_call(C& contender, int calls) {
    contender.start();
    for (int i = 0; i < calls; ++i) keep(contender.call([i] { return i; }));
    return 0;
}

template <class C>
int bridge_main(int argc, char** argv) {
    std::vector<std::string> args(argv + 1, argv + argc);
    auto number = [&](std::size_t i) { return std::stoi(args.at(i)); };
    C contender;
    const std::string& what = args.at(0);
    if (what == "round_trip") return round_trips(contender, args.at(1), number(2));
    if (what == "calls") return just_call(contender, number(1));
    if (what == "allocations") return count_allocations(contender, number(1));
    if (what == "idle") return idle(contender, number(1));
    if constexpr (submits<C>) {
        if (what == "callers") return callers(contender, number(1), number(2));
        if (what == "submit") return submit_and_collect(contender, number(1));
        if (what == "pending") return pending_tasks(contender, number(1), number(2));
    }
    return 2;
}

}  // namespace bench
