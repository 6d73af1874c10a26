#include "sleep.hpp"

#include <uv.h>

namespace {

template <class OnWoken>
struct sleeper {
    uv_timer_t timer;
    OnWoken* woken;
    double began;
    int i;
};

struct uv_timers {
    template <class OnWoken>
    void sleep_all(int count, OnWoken woken) {
        uv_loop_t loop;
        uv_loop_init(&loop);
        std::vector<sleeper<OnWoken>> sleepers(static_cast<std::size_t>(count));
        for (int i = 0; i < count; ++i) {
            auto& one = sleepers[static_cast<std::size_t>(i)];
            one.woken = &woken;
            one.i = i;
            one.began = bench::wall_ns();
            // Else it counts from when the loop last woke, 50 ms ago by the end of this one.
            uv_update_time(&loop);
            uv_timer_init(&loop, &one.timer);
            one.timer.data = &one;
            uv_timer_start(&one.timer, expired<OnWoken>, static_cast<std::uint64_t>(bench::duration_ms(i)), 0);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
    }

    template <class OnWoken>
    static void expired(uv_timer_t* timer) {
        auto& self = *static_cast<sleeper<OnWoken>*>(timer->data);
        (*self.woken)(self.i, self.began);
        uv_close(reinterpret_cast<uv_handle_t*>(timer), nullptr);
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::sleep_main<uv_timers>(argc, argv); }
