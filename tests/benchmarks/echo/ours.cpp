#include "echo.hpp"

#include <sincpro/async_worker.hpp>

namespace {

sincpro::task<> ping(int fd, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        bench::write_byte(fd);
        do {
            co_await sincpro::wait_readable(fd);
        } while (!bench::read_byte(fd));
    }
}

sincpro::task<> pong(int fd, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        do {
            co_await sincpro::wait_readable(fd);
        } while (!bench::read_byte(fd));
        bench::write_byte(fd);
    }
}

struct ours {
    void play(const std::vector<bench::pair>& pairs, int rounds) {
        std::vector<sincpro::task<>> ends;
        for (auto& one : pairs) {
            ends.push_back(pong(one.pong, rounds));
            ends.push_back(ping(one.ping, rounds));
        }
        sincpro::run_async_task(sincpro::when_all(std::move(ends)));
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::echo_main<ours>(argc, argv); }
