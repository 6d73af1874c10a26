#include "support/catch.hpp"

#if defined(__linux__)

#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sched.h>
#include <unistd.h>

#include "support/descriptors.hpp"
#include "support/scale.hpp"

// Sixty-four threads call everything at once for as long as SINCPRO_SOAK_SECONDS says, 2 s without.

namespace {

using namespace std::chrono_literals;
using sincpro::run_async_task;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::worker;
using clock = std::chrono::steady_clock;

constexpr int callers = 64;

std::chrono::seconds soaking_time() {
    const char* const wanted = std::getenv("SINCPRO_SOAK_SECONDS");
    return std::chrono::seconds(wanted != nullptr ? std::stol(wanted) : 2);
}

/// How much later than its deadline and its time of grace a call may return. What a sanitizer slows down is not measured.
constexpr clock::duration noticed = 10ms;
constexpr clock::duration tolerance = support::sanitized ? clock::duration(5s) : 100ms;

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t all = 0, resident = 0;
    statm >> all >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;  // one is that of the iteration
}

struct interval {
    clock::time_point begin, end;
};

/// Threads that only sleep, one on each CPU: when they are late it is the machine that stood still, and nobody's fault.
class heartbeats {
public:
    heartbeats() {
        cpu_set_t usable;
        CPU_ZERO(&usable);
        ::sched_getaffinity(0, sizeof usable, &usable);
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &usable)) threads_.emplace_back([this, cpu] { beat(cpu); });
        }
    }
    ~heartbeats() { stop(); }
    void stop() {
        ended_ = true;
        for (std::thread& thread : std::exchange(threads_, {})) thread.join();
    }
    /// For how long a CPU stood still meanwhile. After stop().
    [[nodiscard]] clock::duration stalled(interval when) const {
        clock::duration sum{};
        for (const interval& one : stalls_) {
            sum += std::max(clock::duration(), std::min(when.end, one.end) - std::max(when.begin, one.begin));
        }
        return sum;
    }
    [[nodiscard]] std::size_t count() const { return stalls_.size(); }

private:
    void beat(int cpu) {
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(cpu, &here);
        ::sched_setaffinity(0, sizeof here, &here);
        while (!ended_) {
            const clock::time_point begin = clock::now();
            std::this_thread::sleep_for(1ms);
            const clock::time_point end = clock::now();
            if (end - begin < 20ms) continue;
            const std::lock_guard lock(mutex_);
            stalls_.push_back({begin, end});
        }
    }
    std::atomic<bool> ended_{false};
    std::mutex mutex_;
    std::vector<interval> stalls_;
    std::vector<std::thread> threads_;
};

/// What all callers share: how often each thing was done, what went wrong, and what may have if the machine stood still.
struct report {
    struct delay {
        interval call;
        clock::duration late;
        bool strange;  // unless the machine stood still
    };
    void wrong(const std::string& what) {
        const std::lock_guard lock(mutex);
        if (errors.size() < 20) errors.push_back(what);
    }
    void delayed(const delay& d) {
        const std::lock_guard lock(mutex);
        delays.push_back(d);
    }
    std::mutex mutex;
    std::vector<std::string> errors;
    std::vector<delay> delays;
    std::array<std::atomic<std::size_t>, 12> done{};
};

/// Calls completions on a thread of its own, a moment after it was asked to.
class caller_back {
public:
    caller_back() : thread_([this] { run(); }) {}
    ~caller_back() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    void call(sincpro::completion<int> done, int value) {
        {
            const std::lock_guard lock(mutex_);
            waiting_.emplace_back(std::move(done), value);
        }
        changed_.notify_one();
    }

private:
    void run() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
            if (ended_) return;
            auto calls = std::exchange(waiting_, {});
            lock.unlock();
            for (auto& [done, value] : calls) done(value);
            lock.lock();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::pair<sincpro::completion<int>, int>> waiting_;
    bool ended_ = false;
    std::thread thread_;
};

task<int> after(clock::duration d, int value) {
    co_await sincpro::sleep_for(d);
    co_return value;
}

task<int> write_later(int fd, clock::duration d) {
    co_await sincpro::sleep_for(d);
    co_await sincpro::wait_writable(fd);
    const char byte = 7;
    co_return static_cast<int>(::write(fd, &byte, 1));
}

task<int> read_one(int fd) {
    char byte = 0;
    while (::read(fd, &byte, 1) != 1) co_await sincpro::wait_readable(fd);
    co_return byte;
}

task<int> within(sincpro::semaphore& at_most, clock::duration d) {
    const sincpro::semaphore::permit held = co_await at_most.acquire();
    co_await sincpro::sleep_for(d);
    co_return 1;
}

/// One of the sixty-four.
class caller {
public:
    caller(report& r, worker& s, sincpro::semaphore& a, caller_back& b, unsigned seed)
        : report_(r), shared_(s), at_most_(a), back_(b), random_(seed) {}

    void call_until(clock::time_point end) {
        while (clock::now() < end) {
            const std::size_t what = below(report_.done.size());
            try {
                call(what);
                ++report_.done[what];
            } catch (const std::exception& error) {
                report_.wrong("call " + std::to_string(what) + ": " + error.what());
            }
            std::this_thread::sleep_for(std::chrono::microseconds(below(20'000)));
        }
    }

private:
    std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
    std::chrono::microseconds moment() { return std::chrono::microseconds(below(5'000)); }
    void expect(bool holds, const char* what) {
        if (!holds) report_.wrong(what);
    }

    /// Runs `a`, which takes much longer, for at most `limit`; notes when that returned late, or with anything but what it should.
    template <class A>
    void expect_timeout(A a, clock::duration limit, bool stops) {
        const clock::time_point begin = clock::now();
        bool strange = false;
        try {
            static_cast<void>(run_async_task(std::move(a), limit));
            strange = true;  // its result was there before this thread went on
        } catch (const sincpro::timeout_error& error) {
            strange = stops && !error.task_stopped();  // left, though it stops at once
        }
        const clock::time_point end = clock::now();
        const clock::duration late = end - begin - limit - sincpro::worker_options().cancel_grace;
        if (strange || late > noticed) report_.delayed({{begin, end}, late, strange});
    }

    void call(std::size_t what) {
        switch (what) {
            case 0: expect(run_async_task(after(0us, 5)) == 5, "a value"); break;
            case 1: expect_timeout(after(1h, 1), moment(), true); break;
            case 2: expect_timeout(sincpro::shield(after(150ms, 1)), moment(), false); break;
            case 3: {
                auto future = submit_async_task(after(1h, 1));
                std::this_thread::sleep_for(moment());
                future.cancel();
                try {
                    future.get();
                    report_.wrong("a cancelled task has a result");
                } catch (const sincpro::operation_cancelled&) {
                }
                break;
            }
            case 4: static_cast<void>(submit_async_task(after(moment(), 1))); break;
            case 5: {
                const support::socket_pair pair;
                const auto [written, read] = run_async_task(
                    sincpro::when_all(write_later(pair.there.get(), moment()), read_one(pair.here.get())), 30s);
                expect(written == 1 && read == 7, "a byte through a socket");
                break;
            }
            case 6: {
                const support::socket_pair silent;
                expect_timeout(read_one(silent.here.get()), moment(), true);
                break;
            }
            case 7: {
                const auto pause = moment();
                expect(run_async_task([pause]() -> task<int> {
                           co_return co_await sincpro::to_thread(
                               [](std::chrono::microseconds d) {
                                   std::this_thread::sleep_for(d);
                                   return 3;
                               },
                               pause);
                       }) == 3,
                       "the value of a thread");
                break;
            }
            case 8: {
                caller_back* const back = &back_;
                expect(run_async_task(sincpro::await_callback<int>(
                           [back](sincpro::completion<int> done) { back->call(std::move(done), 9); })) == 9,
                       "the value of a callback");
                break;
            }
            case 9: {
                const auto first = run_async_task(sincpro::when_any(after(moment(), 1), after(1h, 2)), 30s);
                expect(first.index() == 0 && std::get<0>(first) == 1, "the first of two");
                break;
            }
            case 10: expect(run_async_task(within(at_most_, 100us), 30s) == 1, "a permit"); break;
            default:  // a worker that another thread shuts down again and again
                try {
                    expect(shared_.run(after(moment(), 4), 30s) == 4, "a value of the worker that restarts");
                } catch (const sincpro::operation_cancelled&) {  // worker_stopped, too
                }
        }
    }

    report& report_;
    worker& shared_;
    sincpro::semaphore& at_most_;
    caller_back& back_;
    std::mt19937 random_;
};

}  // namespace

TEST_CASE("a mixed load of 64 threads leaves no error, no late call, no memory and no descriptor behind") {
    const clock::time_point begin = clock::now(), end = begin + soaking_time();
    const std::size_t descriptors_before = open_descriptors();

    report notes;
    heartbeats machine;
    std::vector<std::size_t> resident;
    {
        worker shared({.name = "restarts"});
        sincpro::semaphore at_most(8);
        caller_back back;
        std::vector<std::thread> threads;
        for (unsigned seed = 1; seed <= callers; ++seed) {
            threads.emplace_back([&, seed] { caller(notes, shared, at_most, back, seed).call_until(end); });
        }
        std::mt19937 random(0);
        while (clock::now() < end) {
            std::this_thread::sleep_for(std::chrono::milliseconds(random() % 100));
            shared.shutdown();
            resident.push_back(resident_bytes());
        }
        for (std::thread& thread : threads) thread.join();
    }
    sincpro::default_worker().shutdown();  // what was left to itself has ended
    machine.stop();

    std::size_t calls = 0, fewest = notes.done[0];
    for (const auto& one : notes.done) {
        calls += one;
        fewest = std::min<std::size_t>(fewest, one);
    }
    const auto largest = [&](std::size_t from, std::size_t to) {  // in tenths of the time
        return *std::max_element(resident.begin() + static_cast<std::ptrdiff_t>(resident.size() * from / 10),
                                 resident.begin() + static_cast<std::ptrdiff_t>(resident.size() * to / 10));
    };
    clock::duration latest = noticed;
    std::size_t strange = 0;
    for (const report::delay& one : notes.delays) {
        const clock::duration stalled = machine.stalled(one.call);
        latest = std::max(latest, one.late - stalled);
        strange += one.strange && stalled == clock::duration();
    }
    REQUIRE(resident.size() >= 10);
    std::cout << calls << " calls, none more than " << latest / 1us
              << " us after its deadline and grace; the machine stood still " << machine.count()
              << " times; resident memory " << largest(1, 4) / 1024
              << " KiB in the second to fourth tenth of the time, " << largest(7, 10) / 1024
              << " KiB in the last three\n";

    CHECK(notes.errors == std::vector<std::string>());
    CHECK(fewest > 0);
    CHECK(latest < tolerance);
    if (!support::sanitized) CHECK(strange == 0);
    CHECK(open_descriptors() == descriptors_before);
    if (!support::sanitized) CHECK(largest(7, 10) < largest(1, 4) * 11 / 10 + 4 * 1024 * 1024);
}

#else

TEST_CASE("the mixed load is measured on Linux") { CHECK(true); }

#endif
