// Sockets: a UDP echo server and three clients of it, all of them coroutines on one worker thread.
// g++ -std=c++20 -Iinclude examples/sockets.cpp -o sockets -pthread && ./sockets
#include <sincpro/async_worker.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using sincpro::task;

ssize_t check(ssize_t result) {  // "not now" is no error: a descriptor may be reported ready when it is not
    if (result < 0 && errno != EAGAIN && errno != EINTR) throw std::system_error(errno, std::generic_category());
    return result;
}

struct udp_socket {
    const int fd = static_cast<int>(check(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
    sockaddr_in peer;
    sockaddr* const address = reinterpret_cast<sockaddr*>(&peer);
    socklen_t size = sizeof peer;
    explicit udp_socket(sockaddr_in to = {}) : peer(to) {}
    udp_socket(const udp_socket&) = delete;
    ~udp_socket() { ::close(fd); }

    void send(const std::string& text) { check(::sendto(fd, text.data(), text.size(), 0, address, size)); }
    task<std::string> receive() {
        for (char text[1500];;) {
            co_await sincpro::wait_readable(fd);
            const ssize_t length = check(::recvfrom(fd, text, sizeof text, 0, address, &size));
            if (length >= 0) co_return std::string(text, static_cast<std::size_t>(length));
        }
    }
};

task<> serve(udp_socket& socket) {
    for (;;) socket.send("echo of " + co_await socket.receive());
}

task<std::string> ask(sockaddr_in server, std::string text) {
    udp_socket socket(server);
    socket.send(text);
    co_return co_await socket.receive();  // should a datagram get lost, the timeout of the caller ends this
}

int main() {
    udp_socket server;
    server.peer.sin_family = AF_INET;
    server.peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(::bind(server.fd, server.address, server.size));
    check(::getsockname(server.fd, server.address, &server.size));

    auto clients = sincpro::when_all(ask(server.peer, "one"), ask(server.peer, "two"), ask(server.peer, "three"));
    const auto done = sincpro::run_async_task(sincpro::when_any(serve(server), std::move(clients)), 10s);
    const auto& [one, two, three] = std::get<1>(done);  // the server never ends by itself: it was cancelled
    std::cout << one << ", " << two << ", " << three << '\n';
}
