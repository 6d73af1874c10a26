#include "echo.hpp"

#include <uv.h>

namespace {

struct end {
    uv_poll_t poll;
    int fd;
    int left;
    bool starts;
};

struct uv_polls {
    uv_loop_t loop;

    uv_polls() { uv_loop_init(&loop); }

    static void readable(uv_poll_t* poll, int status, int) {
        auto& self = *static_cast<end*>(poll->data);
        if (status != 0) std::exit(1);
        if (!bench::read_byte(self.fd)) return;
        if (--self.left > 0 || !self.starts) bench::write_byte(self.fd);
        if (self.left == 0) uv_close(reinterpret_cast<uv_handle_t*>(poll), nullptr);
    }

    void play(const std::vector<bench::pair>& pairs, int rounds) {
        std::vector<end> ends(2 * pairs.size());
        for (std::size_t i = 0; i < ends.size(); ++i) {
            auto& one = pairs[i / 2];
            bool starts = i % 2 == 1;
            ends[i].fd = starts ? one.ping : one.pong;
            ends[i].left = rounds;
            ends[i].starts = starts;
            uv_poll_init(&loop, &ends[i].poll, ends[i].fd);
            ends[i].poll.data = &ends[i];
            uv_poll_start(&ends[i].poll, UV_READABLE, readable);
            if (starts) bench::write_byte(ends[i].fd);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::echo_main<uv_polls>(argc, argv); }
