#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>

#include "events.hpp"

namespace support {

/// Which threads a fault strikes: the one that armed it, all others, or any.
enum class on { caller, others, all };
/// What fails: one call, or that and all later ones.
enum class failing { once, from_then_on };

/// Makes the n-th call of something fail. Whatever replaces that something asks strikes() at each call.
class fault {
public:
    void arm(long n, on where, failing how) noexcept {
        mine() = true;
        left_.store(n, std::memory_order_relaxed);
        where_.store(where, std::memory_order_relaxed);
        how_.store(how, std::memory_order_relaxed);
        struck_.store(0, std::memory_order_relaxed);
        armed_.store(true, std::memory_order_seq_cst);
    }
    /// How many calls failed.
    long disarm() noexcept {
        armed_.store(false, std::memory_order_seq_cst);
        return struck_.load(std::memory_order_relaxed);
    }
    bool strikes() noexcept {
        if (!armed_.load(std::memory_order_acquire)) return false;
        const on where = where_.load(std::memory_order_relaxed);
        if (where != on::all && (where == on::caller) != mine()) return false;
        const long left = left_.fetch_sub(1, std::memory_order_relaxed);
        if (left > 0 || (left < 0 && how_.load(std::memory_order_relaxed) == failing::once)) return false;
        struck_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }

private:
    /// True on the thread that arms faults; there is only one.
    static bool& mine() noexcept {
        thread_local bool is_mine = false;
        return is_mine;
    }

    std::atomic<bool> armed_{false};
    std::atomic<long> left_{0}, struck_{0};
    std::atomic<on> where_{on::all};
    std::atomic<failing> how_{failing::once};
};

/// What a program under faults found to be wrong; kept without an allocation, since those may fail.
class verdict {
public:
    void expect(bool ok, unsigned line = __builtin_LINE()) noexcept {
        unsigned none = 0;
        if (!ok) wrong_at_.compare_exchange_strong(none, line);
    }
    unsigned wrong_at() const noexcept { return wrong_at_.load(); }

private:
    std::atomic<unsigned> wrong_at_{0};
};

/// True as soon as `there()` is; false if it is not after all patience.
template <class Condition>
bool comes_true(Condition there) {
    const auto give_up = std::chrono::steady_clock::now() + patience;
    while (!there()) {
        if (std::chrono::steady_clock::now() > give_up) return false;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
}

}  // namespace support
