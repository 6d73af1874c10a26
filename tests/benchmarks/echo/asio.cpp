#include "echo.hpp"

#include <asio.hpp>

namespace {

using descriptor = asio::posix::stream_descriptor;

asio::awaitable<void> ping(descriptor& socket, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        bench::write_byte(socket.native_handle());
        do {
            co_await socket.async_wait(descriptor::wait_read, asio::use_awaitable);
        } while (!bench::read_byte(socket.native_handle()));
    }
}

asio::awaitable<void> pong(descriptor& socket, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        do {
            co_await socket.async_wait(descriptor::wait_read, asio::use_awaitable);
        } while (!bench::read_byte(socket.native_handle()));
        bench::write_byte(socket.native_handle());
    }
}

struct asio_descriptors {
    void play(const std::vector<bench::pair>& pairs, int rounds) {
        asio::io_context context(1);
        std::vector<descriptor> sockets;
        sockets.reserve(2 * pairs.size());
        for (auto& one : pairs) {
            asio::co_spawn(context, pong(sockets.emplace_back(context, one.pong), rounds), asio::detached);
            asio::co_spawn(context, ping(sockets.emplace_back(context, one.ping), rounds), asio::detached);
        }
        context.run();
        for (auto& socket : sockets) socket.release();
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::echo_main<asio_descriptors>(argc, argv); }
