#include <sincpro/async_worker/detail/base/frame_cache.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/counted_new.hpp"
#include "support/events.hpp"

namespace {

using sincpro::detail::frame_cache;
using sincpro::detail::recycling_allocator;
using support::alive;
using support::made;

#if SINCPRO_DETAIL_ASAN || defined(SINCPRO_ASYNC_WORKER_NO_RECYCLING) || SINCPRO_DETAIL_THREAD_LOCALS_DIE_FIRST
constexpr bool recycles = false;
#else
constexpr bool recycles = true;
#endif

/// Runs `f` on a thread that has kept nothing yet, and ends it.
template <class F>
void on_new_thread(F f) {
    std::thread(std::move(f)).join();
}

/// Blocks of one size, freed at the end at the latest.
class blocks {
public:
    blocks(std::size_t count, std::size_t size) : size_(size) {
        all_.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            all_.push_back(frame_cache::allocate(size));
        }
    }
    blocks(const blocks&) = delete;
    blocks& operator=(const blocks&) = delete;
    ~blocks() { free(); }
    void free() {
        for (void* p : all_) {
            frame_cache::deallocate(p, size_);
        }
        all_.clear();
    }
    const std::vector<void*>& all() const { return all_; }

private:
    std::size_t size_;
    std::vector<void*> all_;
};

}  // namespace

TEST_CASE("a block that was freed is given out again for the same size, the last one first") {
    if (!recycles) {
        return;
    }
    on_new_thread([] {
        void* const a = frame_cache::allocate(100);
        void* const b = frame_cache::allocate(100);
        frame_cache::deallocate(a, 100);
        frame_cache::deallocate(b, 100);
        void* const other = frame_cache::allocate(200);
        void* const first = frame_cache::allocate(100);
        void* const second = frame_cache::allocate(100);
        CHECK(first == b);
        CHECK(second == a);
        CHECK(other != a);
        CHECK(other != b);
        frame_cache::deallocate(first, 100);
        frame_cache::deallocate(second, 100);
        frame_cache::deallocate(other, 200);
    });
}

TEST_CASE("blocks of every size hold their size and are aligned, whether new or recycled") {
    on_new_thread([] {
        constexpr std::size_t largest = 1'200;
        struct block {
            void* memory;
            std::size_t size;
        };
        std::vector<block> all;
        std::mt19937 random(3);
        int misaligned = 0, overwritten = 0;
        for (int round = 0; round < 3; ++round) {
            for (std::size_t size = 1; size <= largest; ++size) {
                all.push_back({frame_cache::allocate(size), size});
                misaligned +=
                    reinterpret_cast<std::uintptr_t>(all.back().memory) % __STDCPP_DEFAULT_NEW_ALIGNMENT__ != 0;
                std::memset(all.back().memory, static_cast<int>(size % 251), size);
            }
            std::shuffle(all.begin(), all.end(), random);
            for (const block& b : all) {
                const auto* const bytes = static_cast<const unsigned char*>(b.memory);
                overwritten += std::any_of(bytes, bytes + b.size, [&](unsigned char c) { return c != b.size % 251; });
                frame_cache::deallocate(b.memory, b.size);
            }
            all.clear();
        }
        CHECK(misaligned == 0);
        CHECK(overwritten == 0);
    });
}

TEST_CASE("a block of no size, and one that is too large to be kept, come from operator new and go back there") {
    on_new_thread([] {
        for (const std::size_t size : {std::size_t{0}, std::size_t{1'025}, std::size_t{1'000'000}}) {
            const long before = alive.load();
            void* const p = frame_cache::allocate(size);
            const long with_it = alive.load();
            frame_cache::deallocate(p, size);
            const long after = alive.load();
            CHECK(p != nullptr);
            CHECK(with_it == before + 1);
            CHECK(after == before);
        }
    });
}

TEST_CASE("a thread keeps a bounded number of blocks, and gives them back when it ends") {
    constexpr std::size_t size = 300;
    long before = 0, kept = 0;
    on_new_thread([&] {
        before = alive.load();
        blocks some(60, size);
        some.free();
        kept = alive.load() - before;
        before = alive.load() - kept;
    });
    CHECK(kept <= 64);
    // The thread's own state is gone by now as well.
    CHECK(alive.load() <= before);
}

TEST_CASE("what all threads keep is bounded, however much was freed") {
    constexpr std::size_t size = 316;
    on_new_thread([&] {
        const long before = alive.load();
        for (int round = 0; round < 3; ++round) {
            blocks many(10'000, size);
        }
        const auto kept = static_cast<std::size_t>(alive.load() - before);
        CHECK(kept * size <= 512 * 1024);
    });
}

TEST_CASE("blocks that one thread allocates and another frees come back: soon none is allocated any more") {
    if (!recycles) {
        return;
    }
    constexpr std::size_t size = 332, at_once = 100, rounds = 200;
    const support::arrivals filled, emptied;
    std::array<void*, at_once> block{};
    std::thread freeing([&] {
        for (std::size_t round = 1; round <= rounds; ++round) {
            filled.wait(round);
            for (void* p : block) {
                frame_cache::deallocate(p, size);
            }
            emptied.arrive();
        }
    });
    long after_warm_up = 0, at_the_end = 0;
    for (std::size_t round = 1; round <= rounds; ++round) {
        if (round == rounds / 2) {
            after_warm_up = made.load();
        }
        for (void*& p : block) {
            p = frame_cache::allocate(size);
        }
        filled.arrive();
        emptied.wait(round);
    }
    at_the_end = made.load();
    freeing.join();
    CHECK(at_the_end - after_warm_up <= 10);
}

namespace {

/// How much more is alive after many calls of `round` than after a few, when what is kept for reuse is full already.
template <class Round>
long growth(Round round) {
    for (int i = 0; i < 20; ++i) {
        round();
    }
    const long before = alive.load();
    for (int i = 0; i < 20; ++i) {
        round();
    }
    return alive.load() - before;
}

struct uses_pool_when_its_thread_ends {
    ~uses_pool_when_its_thread_ends() {
        frame_cache::deallocate(block, 364);
        void* const another = frame_cache::allocate(364);
        std::memset(another, 1, 364);
        frame_cache::deallocate(another, 364);
    }
    void* block = nullptr;
};

}  // namespace

TEST_CASE("a thread that only allocates leaves nothing behind when it ends") {
    // As the caller of a task does that the worker frees.
    constexpr std::size_t size = 348;
    std::vector<void*> made_elsewhere(32);
    CHECK(growth([&] {
              for (void*& p : made_elsewhere) {
                  on_new_thread([&p] { p = frame_cache::allocate(size); });
              }
              for (void* p : made_elsewhere) {
                  frame_cache::deallocate(p, size);
              }
          }) <= 64);
}

TEST_CASE("a thread may still allocate and free after it has given back what it kept, and leaves nothing behind") {
    CHECK(growth([] {
              on_new_thread([] { blocks for_all_threads(2'000, 364); });
              on_new_thread([] {
                  // Constructed before the pool is used, so destroyed after what the pool keeps for this thread.
                  thread_local uses_pool_when_its_thread_ends last;
                  last.block = nullptr;
                  void* const kept = frame_cache::allocate(364);
                  last.block = frame_cache::allocate(364);
                  frame_cache::deallocate(kept, 364);
              });
          }) <= 64);
}

TEST_CASE("no block is given to two threads") {
    constexpr std::size_t size = 380, threads = 4, each = 500;
    { blocks for_all_threads(1'000, size); }
    for (int round = 0; round < 10; ++round) {
        const support::gate go;
        std::mutex mutex;
        std::set<void*> seen;
        std::vector<std::thread> all;
        const support::arrivals allocated;
        for (std::size_t t = 0; t < threads; ++t) {
            all.emplace_back([&, t] {
                go.wait();
                blocks mine(each, size);
                for (void* p : mine.all()) {
                    std::memset(p, static_cast<int>(t), size);  // a race if somebody else has it too
                }
                {
                    const std::lock_guard lock(mutex);
                    seen.insert(mine.all().begin(), mine.all().end());
                }
                allocated.arrive();
                allocated.wait(threads);
            });
        }
        go.open();
        for (std::thread& t : all) {
            t.join();
        }
        REQUIRE(seen.size() == threads * each);
    }
}

TEST_CASE("blocks of many sizes go round between threads, and each keeps its content until it is freed") {
    constexpr std::size_t threads = 3, rounds = 3'000;
    struct block {
        unsigned char* memory = nullptr;
        std::size_t size = 0;
    };
    std::array<std::mutex, 16> mutexes;
    std::array<block, 16> shelf;
    std::atomic<int> overwritten{0};
    const auto release = [&](block b) {
        if (b.memory == nullptr) {
            return;
        }
        overwritten += std::any_of(b.memory, b.memory + b.size, [&](unsigned char c) { return c != b.size % 251; });
        frame_cache::deallocate(b.memory, b.size);
    };
    std::vector<std::thread> all;
    for (std::size_t t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            std::mt19937 random(static_cast<unsigned>(t));
            for (std::size_t i = 0; i < rounds; ++i) {
                const std::size_t size = 1 + random() % 600;
                block b{static_cast<unsigned char*>(frame_cache::allocate(size)), size};
                std::memset(b.memory, static_cast<int>(size % 251), size);
                const std::size_t place = random() % shelf.size();
                {
                    const std::lock_guard lock(mutexes[place]);
                    std::swap(b, shelf[place]);
                }
                release(b);
            }
        });
    }
    for (std::thread& t : all) {
        t.join();
    }
    for (const block& b : shelf) {
        release(b);
    }
    CHECK(overwritten == 0);
}

TEST_CASE("the allocator gives aligned memory, also for types that ask for more than operator new gives") {
    struct alignas(128) over_aligned {
        std::array<unsigned char, 128> bytes;
    };
    const auto try_out = [](auto allocator) {
        using value = typename decltype(allocator)::value_type;
        int misaligned = 0;
        for (int round = 0; round < 2; ++round) {
            std::vector<value*> all;
            for (std::size_t n = 1; n <= 20; ++n) {
                all.push_back(allocator.allocate(n));
                misaligned += reinterpret_cast<std::uintptr_t>(all.back()) % alignof(value) != 0;
                std::memset(static_cast<void*>(all.back()), 7, n * sizeof(value));
            }
            for (std::size_t n = 1; n <= 20; ++n) {
                allocator.deallocate(all[n - 1], n);
            }
        }
        CHECK(misaligned == 0);
    };
    try_out(recycling_allocator<char>());
    try_out(recycling_allocator<double>());
    try_out(recycling_allocator<std::max_align_t>());
    try_out(recycling_allocator<over_aligned>());
}

TEST_CASE("the allocator is one that the standard library takes") {
    const recycling_allocator<char> allocator;
    CHECK(recycling_allocator<int>(allocator) == recycling_allocator<int>());

    std::vector<int, recycling_allocator<int>> numbers(100);
    std::iota(numbers.begin(), numbers.end(), 0);
    CHECK(std::accumulate(numbers.begin(), numbers.end(), 0) == 4950);

    const auto shared = std::allocate_shared<int>(recycling_allocator<int>(), 7);
    CHECK(*shared == 7);

    std::future<int> future;
    {
        std::promise<int> promise(std::allocator_arg, allocator);
        future = promise.get_future();
        std::thread([&promise] { promise.set_value(8); }).join();
    }
    CHECK(future.get() == 8);
}
