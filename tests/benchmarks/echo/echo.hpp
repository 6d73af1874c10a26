#pragma once

#include "../bench.hpp"

#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

/// One byte back and forth over many socket pairs at once. A `contender` is
///
///     void play(const std::vector<pair>& pairs, int rounds);
///
/// In each pair `ping` writes a byte and waits for one `rounds` times; `pong` waits for a byte and writes one. Each end
/// waits until its socket is readable, then reads, then writes: no end tries to read first.
namespace bench {

struct pair {
    int ping, pong;
};

inline void write_byte(int fd) {
    char byte = 'x';
    if (write(fd, &byte, 1) != 1) {
        std::perror("write");
        std::exit(1);
    }
}

/// False where the readiness was spurious.
inline bool read_byte(int fd) {
    char byte;
    ssize_t got = read(fd, &byte, 1);
    if (got == 1) return true;
    if (got < 0 && errno == EAGAIN) return false;
    std::perror("read");
    std::exit(1);
}

template <class C>
int echo_main(int argc, char** argv) {
    if (argc != 3) return 2;
    allow_many_files();
    int count = std::atoi(argv[1]), rounds = std::atoi(argv[2]);
    std::vector<pair> pairs;
    for (int i = 0; i < count; ++i) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
            std::perror("socketpair");
            return 1;
        }
        pairs.push_back({ends[0], ends[1]});
    }
    C contender;
    contender.play(pairs, 1 + rounds / 10);
    double cpu = cpu_ns(), start = wall_ns();
    contender.play(pairs, rounds);
    double trips = static_cast<double>(count) * rounds;
    report("ns", (wall_ns() - start) / trips);
    report("cpu_ns", (cpu_ns() - cpu) / trips);
    return 0;
}

}  // namespace bench
