#pragma once

#if !defined(_WIN32)

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace support {

/// A descriptor that closes itself. Throws if it is none.
class open_descriptor {
public:
    explicit open_descriptor(int fd) : fd_(fd) {
        if (fd < 0) {
            throw std::system_error(errno, std::generic_category(), "a descriptor for a test");
        }
    }
    open_descriptor(open_descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    open_descriptor& operator=(open_descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~open_descriptor() { close(); }
    void close() {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    [[nodiscard]] int get() const { return fd_; }

private:
    int fd_;
};

/// Two ends of one connection, non-blocking.
struct socket_pair {
    socket_pair() : socket_pair(make()) {}
    open_descriptor here, there;

private:
    explicit socket_pair(std::array<int, 2> fds) : here(fds[0]), there(fds[1]) {}
    static std::array<int, 2> make() {
        std::array<int, 2> fds{-1, -1};
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data()) == 0) {
            for (const int fd : fds) {
                ::fcntl(fd, F_SETFL, O_NONBLOCK);
            }
        }
        return fds;
    }
};

/// A regular file without a name.
inline open_descriptor temporary_file() {
    std::FILE* const file = std::tmpfile();
    if (file == nullptr) {
        throw std::system_error(errno, std::generic_category(), "tmpfile");
    }
    const int copy = ::dup(::fileno(file));
    std::fclose(file);
    return open_descriptor(copy);
}

/// Lets `number` mean what `fd` means, as when it had been closed and opened again.
inline void reopen(int number, int fd) {
    if (::dup2(fd, number) != number) {
        throw std::system_error(errno, std::generic_category(), "dup2");
    }
}

inline void write_byte(int fd) {
    const char byte = 'x';
    if (::write(fd, &byte, 1) != 1) {
        throw std::system_error(errno, std::generic_category(), "write");
    }
}

/// False if there is none.
inline bool read_byte(int fd) {
    char byte = 0;
    return ::read(fd, &byte, 1) == 1;
}

/// Writes until nothing more fits.
inline void fill(int fd) {
    const std::array<char, 4096> bytes{};
    while (::write(fd, bytes.data(), bytes.size()) > 0) {
    }
}

/// Reads until nothing more is there.
inline void drain(int fd) {
    std::array<char, 4096> bytes{};
    while (::read(fd, bytes.data(), bytes.size()) > 0) {
    }
}

}  // namespace support

#endif
