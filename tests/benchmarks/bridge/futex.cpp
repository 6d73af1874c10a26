// The floor of a round trip: two threads, two words, and the system call.

#include "bridge.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

class word {
public:
    void set() {
        value_.store(1, std::memory_order_release);
        syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }

    void wait_and_clear() {
        while (value_.load(std::memory_order_acquire) == 0) {
            syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
        }
        value_.store(0, std::memory_order_relaxed);
    }

private:
    std::atomic<int> value_{0};
};

class ping_pong {
public:
    void start() {
        thread_ = std::thread([this] {
            while (ping_.wait_and_clear(), run_ != nullptr) {
                run_(*this);
                pong_.set();
            }
        });
    }

    template <class F>
    int call(F f) {
        argument_ = &f;
        run_ = [](ping_pong& self) { self.result_ = (*static_cast<F*>(self.argument_))(); };
        ping_.set();
        pong_.wait_and_clear();
        return result_;
    }

    ~ping_pong() {
        run_ = nullptr;
        ping_.set();
        thread_.join();
    }

private:
    word ping_, pong_;
    void (*run_)(ping_pong&) = nullptr;
    void* argument_ = nullptr;
    int result_ = 0;
    std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) { return bench::bridge_main<ping_pong>(argc, argv); }
