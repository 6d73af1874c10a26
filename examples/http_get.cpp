// Fetches all URLs at once over plain sockets from one synchronous call; what fails or hangs does not hold up the rest.
// g++ -std=c++20 -Iinclude examples/http_get.cpp -o http_get -pthread && ./http_get http://localhost:8000/
#include <sincpro/async_worker.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using sincpro::task;
using seconds = std::chrono::duration<double>;

struct url {
    std::string host, port, path;
};

struct reply {
    std::string status;
    std::size_t bytes = 0;
};

struct report {
    std::string url;
    sincpro::result<reply> answer;
    std::chrono::steady_clock::duration took;
};

class descriptor {
public:
    explicit descriptor(int fd) : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    ~descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

private:
    int fd_;
};

url parse_url(std::string_view text) {
    constexpr std::string_view scheme = "http://";
    if (!text.starts_with(scheme) || text.find_first_of(" \t\r\n") != text.npos) {
        throw std::invalid_argument("not of the form http://host:port/path");
    }
    text.remove_prefix(scheme.size());
    const std::string_view authority = text.substr(0, text.find('/'));
    const std::string_view path = text.substr(authority.size());
    const std::size_t colon = authority.find(':');
    if (authority.empty() || colon == 0) {
        throw std::invalid_argument("names no host");
    }
    return {std::string(authority.substr(0, colon)),
            colon == authority.npos ? "80" : std::string(authority.substr(colon + 1)),
            path.empty() ? "/" : std::string(path)};
}

struct address_deleter {
    void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using address_list = std::unique_ptr<addrinfo, address_deleter>;

// Blocks: for to_thread.
address_list look_up(const std::string& host, const std::string& port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
        throw std::runtime_error("cannot find host " + host + ", port " + port + ": " + ::gai_strerror(error));
    }
    return address_list(found);
}

task<descriptor> connect_to(const addrinfo* address) {
    int error = 0;
    for (; address != nullptr; address = address->ai_next) {
        descriptor connection(::socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const bool opened = connection.get() >= 0;
        error = opened && ::connect(connection.get(), address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
        if (error == EINPROGRESS) {
            co_await sincpro::wait_writable(connection.get());
            socklen_t size = sizeof error;
            ::getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &error, &size);
        }
        if (error == 0) {
            co_return connection;
        }
    }
    throw std::system_error(error, std::generic_category(), "cannot connect");
}

bool not_now() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

task<> send_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const ssize_t sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            data.remove_prefix(static_cast<std::size_t>(sent));
        } else if (not_now()) {
            co_await sincpro::wait_writable(fd);
        } else {
            throw std::system_error(errno, std::generic_category(), "cannot send");
        }
    }
}

// Appends what has arrived; false when the server has closed the connection.
task<bool> receive_more(int fd, std::string& data) {
    std::array<char, 16384> buffer;
    for (;;) {
        const ssize_t received = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (received >= 0) {
            data.append(buffer.data(), static_cast<std::size_t>(received));
            co_return received > 0;
        }
        if (!not_now()) {
            throw std::system_error(errno, std::generic_category(), "cannot receive");
        }
        co_await sincpro::wait_readable(fd);
    }
}

std::optional<std::size_t> content_length(std::string head) {
    for (char& c : head) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    constexpr std::string_view name = "\r\ncontent-length:";
    std::size_t at = head.find(name);
    if (at == head.npos) {
        return std::nullopt;
    }
    at = std::min(head.find_first_not_of(" \t", at + name.size()), head.size());
    std::size_t length = 0;
    if (std::from_chars(head.data() + at, head.data() + head.size(), length).ec != std::errc()) {
        throw std::runtime_error("the reply has a Content-Length that is no number");
    }
    return length;
}

task<reply> receive_reply(int fd) {
    std::string data;
    bool open = true;  // GCC 11 and 12 miscompile conditions that hold a co_await
    while (data.find("\r\n\r\n") == data.npos) {
        if (data.size() > 65536) {
            throw std::runtime_error("the header of the reply does not end");
        }
        open = co_await receive_more(fd, data);
        if (!open) {
            throw std::runtime_error(data.empty() ? "the server closed the connection without a reply"
                                                  : "truncated reply: it ends within the header");
        }
    }
    const std::size_t head_size = data.find("\r\n\r\n");
    const std::string head = data.substr(0, head_size);
    if (!head.starts_with("HTTP/")) {
        throw std::runtime_error("the server does not speak HTTP");
    }
    data.erase(0, head_size + 4);

    const std::optional<std::size_t> length = content_length(head);  // without one the body ends with the connection
    while (open && (!length || data.size() < *length)) {
        open = co_await receive_more(fd, data);
    }
    if (length && data.size() < *length) {
        throw std::runtime_error("truncated reply: " + std::to_string(data.size()) + " of " + std::to_string(*length) +
                                 " bytes arrived");
    }
    co_return reply{head.substr(0, head.find("\r\n")), length.value_or(data.size())};
}

task<reply> fetch(std::string text) {
    const url target = parse_url(text);
    // Nobody can interrupt getaddrinfo: when the time is over it is left to its thread.
    const address_list addresses =
        co_await sincpro::to_thread(sincpro::abandon_on_cancel, look_up, target.host, target.port);
    const descriptor connection = co_await connect_to(addresses.get());
    const std::string request = "GET " + target.path + " HTTP/1.0\r\nHost: " + target.host + "\r\n\r\n";
    co_await send_all(connection.get(), request);
    co_return co_await receive_reply(connection.get());
}

task<report> attempt(std::string text, seconds limit) {
    const auto begin = std::chrono::steady_clock::now();
    auto answer = co_await sincpro::as_result(sincpro::with_timeout(fetch(text), limit));
    co_return report{text, std::move(answer), std::chrono::steady_clock::now() - begin};
}

task<std::vector<report>> fetch_all(std::vector<std::string> urls, seconds limit) {
    std::vector<task<report>> attempts;
    for (const std::string& text : urls) {
        attempts.push_back(attempt(text, limit));
    }
    co_return co_await sincpro::when_all(std::move(attempts));
}

bool print(report& result) {
    const auto took = static_cast<long>(result.took / 1ms);
    try {
        const reply& answer = result.answer.value();
        std::printf("%s: %s, %zu bytes, %ld ms\n", result.url.c_str(), answer.status.c_str(), answer.bytes, took);
        return true;
    } catch (const sincpro::timeout_error& error) {
        std::printf("%s: failed, no complete answer in time: %s, %ld ms\n", result.url.c_str(), error.what(), took);
    } catch (const std::exception& error) {
        std::printf("%s: failed, %s, %ld ms\n", result.url.c_str(), error.what(), took);
    }
    return false;
}

int main(int argc, char** argv) {
    seconds limit = 10s;
    std::vector<std::string> urls(argv + 1, argv + argc);
    if (urls.size() >= 2 && urls[0] == "-t") {
        limit = seconds(std::strtod(urls[1].c_str(), nullptr));
        urls.erase(urls.begin(), urls.begin() + 2);
    }
    if (urls.empty() || !(limit > 0s)) {
        std::fprintf(stderr, "usage: http_get [-t seconds] http://host:port/path...\n");
        return 2;
    }
    try {
        // Each URL has its own limit, so that the others are there when it ends; that of the call is the net beneath.
        bool all_arrived = true;
        for (report& result : sincpro::run_async_task(fetch_all(urls, limit), 2 * limit)) {
            all_arrived = print(result) && all_arrived;
        }
        return all_arrived ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
