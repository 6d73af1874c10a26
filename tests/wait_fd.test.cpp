#include <sincpro/async_worker/wait_fd.hpp>

#include <sincpro/async_worker.hpp>

#include "support/catch.hpp"

#if !defined(_WIN32)

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/events.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::run_async_task;
using sincpro::sleep_for;
using sincpro::submit_async_task;
using sincpro::task;
using sincpro::wait_readable;
using sincpro::wait_writable;
using sincpro::yield;
using support::gate;

class descriptor {
public:
    explicit descriptor(int fd) : fd_(fd) {
        if (fd < 0) {
            throw std::system_error(errno, std::generic_category(), "a descriptor for a test");
        }
    }
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() { close(); }
    void close() {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    int get() const { return fd_; }

private:
    int fd_;
};

struct ends {
    descriptor here, there;
};

ends socket_pair() {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data()) != 0) {
        throw std::system_error(errno, std::generic_category(), "socketpair");
    }
    for (const int fd : fds) {
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return {descriptor(fds[0]), descriptor(fds[1])};
}

/// `here` is the end to read from.
ends pipe_pair() {
    std::array<int, 2> fds{};
    if (::pipe(fds.data()) != 0) {
        throw std::system_error(errno, std::generic_category(), "pipe");
    }
    for (const int fd : fds) {
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return {descriptor(fds[0]), descriptor(fds[1])};
}

void put(int fd) {
    const char byte = 'x';
    if (::write(fd, &byte, 1) != 1) {
        throw std::system_error(errno, std::generic_category(), "write");
    }
}

bool take(int fd) {
    char byte = 0;
    return ::read(fd, &byte, 1) == 1;
}

void fill(int fd) {
    const std::array<char, 4096> bytes{};
    while (::write(fd, bytes.data(), bytes.size()) > 0) {
    }
}

void drain(int fd) {
    std::array<char, 4096> bytes{};
    while (::read(fd, bytes.data(), bytes.size()) > 0) {
    }
}

/// Readiness may be spurious, so this looks again.
task<> read_byte(int fd) {
    while (!take(fd)) {
        co_await wait_readable(fd);
    }
}

task<> write_byte(int fd) {
    const char byte = 'x';
    while (::write(fd, &byte, 1) != 1) {
        co_await wait_writable(fd);
    }
}

/// Returns when the task waits in the operation.
template <class Operation>
sincpro::task_future<void> submit_and_let_it_wait(Operation operation) {
    const gate begun;
    auto future = submit_async_task([begun, operation]() -> task<> {
        begun.open();
        auto mine = operation;
        co_await std::move(mine);
    });
    begun.wait();
    run_async_task(yield());
    return future;
}

template <class Operation>
std::error_code error_of(Operation operation) {
    try {
        run_async_task(operation);
    } catch (const std::system_error& e) {
        return e.code();
    }
    return {};
}

}  // namespace

TEST_CASE("what is ready already is not waited for") {
    const auto pair = socket_pair();
    run_async_task(wait_writable(pair.here.get()));
    put(pair.there.get());
    run_async_task(wait_readable(pair.here.get()));
    CHECK(take(pair.here.get()));
}

TEST_CASE("a descriptor that becomes readable later resumes its waiter") {
    for (const bool sockets : {true, false}) {
        const auto pair = sockets ? socket_pair() : pipe_pair();
        auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
        put(pair.there.get());
        future.get();
        CHECK(take(pair.here.get()));
    }
}

TEST_CASE("a descriptor that becomes writable later resumes its waiter") {
    for (const bool sockets : {true, false}) {
        const auto pair = sockets ? socket_pair() : pipe_pair();
        fill(pair.there.get());
        auto future = submit_async_task(write_byte(pair.there.get()));
        run_async_task(yield());
        CHECK(future.wait_for(0s) == std::future_status::timeout);
        drain(pair.here.get());  // perhaps with the byte that the task writes
        future.get();
    }
}

TEST_CASE("waiting again without having drained is ready at once") {
    const auto pair = socket_pair();
    put(pair.there.get());
    put(pair.there.get());
    run_async_task([&]() -> task<> {
        for (int i = 0; i < 100; ++i) {
            co_await wait_readable(pair.here.get());
            co_await wait_writable(pair.here.get());
        }
    });
    CHECK(take(pair.here.get()));
    run_async_task(wait_readable(pair.here.get()));
    CHECK(take(pair.here.get()));
    CHECK_FALSE(take(pair.here.get()));
}

TEST_CASE("what arrives between two waits is not missed") {
    const auto pair = socket_pair();
    run_async_task([&]() -> task<> {
        for (int i = 0; i < 1'000; ++i) {
            put(pair.there.get());
            co_await wait_readable(pair.here.get());
            drain(pair.here.get());
            put(pair.there.get());
            if (i % 3 == 0) {
                co_await yield();
            }
            co_await wait_readable(pair.here.get());
            drain(pair.here.get());
        }
    });
    std::thread writer([&] {
        for (int i = 0; i < 10'000; ++i) {
            const char byte = 'x';
            while (::write(pair.there.get(), &byte, 1) != 1) {
                std::this_thread::yield();
            }
        }
    });
    run_async_task([&]() -> task<> {
        for (int i = 0; i < 10'000; ++i) {
            co_await read_byte(pair.here.get());
        }
    });
    writer.join();
    CHECK_FALSE(take(pair.here.get()));
}

TEST_CASE("a hang-up counts as ready, and the read or write tells") {
    SECTION("a reader of a socket") {
        auto pair = socket_pair();
        auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
        pair.there.close();
        future.get();
        char byte = 0;
        CHECK(::read(pair.here.get(), &byte, 1) == 0);
        run_async_task(wait_readable(pair.here.get()));
        run_async_task(wait_writable(pair.here.get()));
    }
    SECTION("a reader of a pipe") {
        auto pair = pipe_pair();
        auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
        pair.there.close();
        future.get();
        char byte = 0;
        CHECK(::read(pair.here.get(), &byte, 1) == 0);
        run_async_task(wait_readable(pair.here.get()));
    }
    SECTION("a writer to a full pipe") {
        auto pair = pipe_pair();
        fill(pair.there.get());
        auto future = submit_and_let_it_wait(wait_writable(pair.there.get()));
        pair.here.close();
        future.get();
        run_async_task(wait_writable(pair.there.get()));
    }
    SECTION("a writer to a full socket") {
        auto pair = socket_pair();
        fill(pair.here.get());
        auto future = submit_and_let_it_wait(wait_writable(pair.here.get()));
        pair.there.close();
        future.get();
    }
    SECTION("half a shutdown") {
        auto pair = socket_pair();
        auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
        ::shutdown(pair.there.get(), SHUT_WR);
        future.get();
        char byte = 0;
        CHECK(::read(pair.here.get(), &byte, 1) == 0);
        run_async_task(write_byte(pair.here.get()));
        CHECK(take(pair.there.get()));
    }
}

TEST_CASE("a bad descriptor is a system_error at once") {
    CHECK(error_of(wait_readable(-1)) == std::errc::bad_file_descriptor);
    CHECK(error_of(wait_writable(-1)) == std::errc::bad_file_descriptor);
    CHECK(error_of(wait_readable(1'000'000)) == std::errc::bad_file_descriptor);
    auto pair = socket_pair();
    const int number = pair.here.get();
    put(pair.there.get());
    run_async_task(wait_readable(number));
    pair.here.close();
    CHECK(error_of(wait_readable(number)) == std::errc::bad_file_descriptor);
    CHECK(error_of(wait_writable(number)) == std::errc::bad_file_descriptor);
}

TEST_CASE("a regular file is always ready, and so is what cannot be waited for") {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
    REQUIRE(file);
    const int fd = ::fileno(file.get());
    const descriptor null(::open("/dev/null", O_RDWR));
    run_async_task([&]() -> task<> {
        for (int i = 0; i < 10; ++i) {
            co_await wait_readable(fd);
            co_await wait_writable(fd);
            co_await wait_readable(null.get());
            co_await wait_writable(null.get());
        }
        co_await sincpro::when_all(wait_readable(fd), wait_writable(fd), wait_readable(fd));
    });
    SUCCEED();
}

TEST_CASE("a second waiter for the same direction is busy, and the first is not disturbed") {
    const auto pair = socket_pair();
    auto first = submit_and_let_it_wait(wait_readable(pair.here.get()));
    CHECK(error_of(wait_readable(pair.here.get())) == std::errc::device_or_resource_busy);
    CHECK(first.wait_for(0s) == std::future_status::timeout);
    put(pair.there.get());
    first.get();
    run_async_task(wait_readable(pair.here.get()));
    CHECK(take(pair.here.get()));

    fill(pair.here.get());
    auto writer = submit_and_let_it_wait(wait_writable(pair.here.get()));
    CHECK(error_of(wait_writable(pair.here.get())) == std::errc::device_or_resource_busy);
    drain(pair.there.get());
    writer.get();
}

TEST_CASE("both directions of a descriptor may be waited for at the same time") {
    const auto pair = socket_pair();
    fill(pair.here.get());
    auto reader = submit_and_let_it_wait(wait_readable(pair.here.get()));
    auto writer = submit_and_let_it_wait(wait_writable(pair.here.get()));
    CHECK(reader.wait_for(0s) == std::future_status::timeout);
    CHECK(writer.wait_for(0s) == std::future_status::timeout);
    put(pair.there.get());
    reader.get();
    drain(pair.there.get());
    writer.get();

    drain(pair.here.get());
    fill(pair.here.get());
    reader = submit_and_let_it_wait(wait_readable(pair.here.get()));
    writer = submit_and_let_it_wait(wait_writable(pair.here.get()));
    drain(pair.there.get());
    writer.get();
    run_async_task(yield());
    CHECK(reader.wait_for(0s) == std::future_status::timeout);
    put(pair.there.get());
    reader.get();
}

TEST_CASE("cancelling one direction leaves the other waiting") {
    const auto pair = socket_pair();
    fill(pair.here.get());
    auto reader = submit_and_let_it_wait(wait_readable(pair.here.get()));
    auto writer = submit_and_let_it_wait(wait_writable(pair.here.get()));
    writer.cancel();
    CHECK_THROWS_AS(writer.get(), operation_cancelled);
    CHECK(reader.wait_for(0s) == std::future_status::timeout);
    put(pair.there.get());
    reader.get();
}

TEST_CASE("a cancelled wait ends at once, and the descriptor can be waited for again") {
    const auto pair = socket_pair();
    for (int i = 0; i < 100; ++i) {
        auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
        future.cancel();
        REQUIRE_THROWS_AS(future.get(), operation_cancelled);
    }
    CHECK_THROWS_AS(run_async_task(sincpro::with_timeout(wait_readable(pair.here.get()), 1ms)), sincpro::timeout_error);
    auto future = submit_and_let_it_wait(wait_readable(pair.here.get()));
    put(pair.there.get());
    future.get();
    CHECK(take(pair.here.get()));
}

TEST_CASE("in a task that is cancelled already a wait ends at once, although the descriptor is not ready") {
    const auto pair = socket_pair();
    const support::gate begun;
    auto future = submit_async_task([&]() -> task<> {
        begun.open();
        try {
            co_await sincpro::sleep_for(1h);
        } catch (const operation_cancelled&) {
        }
        co_await wait_readable(pair.here.get());
    });
    begun.wait();
    future.cancel();
    CHECK_THROWS_AS(future.get(), operation_cancelled);
    put(pair.there.get());
    run_async_task(wait_readable(pair.here.get()));
}

TEST_CASE("a descriptor that was closed after a cancelled wait leaves nothing behind") {
    for (int i = 0; i < 100; ++i) {
        auto pair = socket_pair();
        const int number = pair.here.get();
        auto future = submit_and_let_it_wait(wait_readable(number));
        future.cancel();
        REQUIRE_THROWS_AS(future.get(), operation_cancelled);
        pair.here.close();
        auto next = socket_pair();
        put(next.there.get());
        run_async_task(wait_readable(next.here.get()));
        REQUIRE(take(next.here.get()));
    }
}

namespace {

/// Closes `number` and opens it again as one end of a new socket pair, and returns the other end.
descriptor reopen(int number) {
    auto fresh = socket_pair();
    if (::dup2(fresh.here.get(), number) != number) {
        throw std::system_error(errno, std::generic_category(), "dup2");
    }
    return std::move(fresh.there);
}

}  // namespace

TEST_CASE("a number that was closed and opened again is a new descriptor") {
    auto pair = socket_pair();
    const int number = pair.here.get();
    descriptor there = std::move(pair.there);
    for (int i = 0; i < 200; ++i) {
        auto future = submit_and_let_it_wait(wait_readable(number));
        put(there.get());
        future.get();
        there = reopen(number);
        if (i % 2 == 0) {
            REQUIRE_THROWS_AS(run_async_task(sincpro::with_timeout(read_byte(number), 1ms)), sincpro::timeout_error);
        }
    }
    put(there.get());
    run_async_task(wait_readable(number));
    CHECK(take(number));
}

TEST_CASE("a new descriptor under an old number is noticed when it becomes ready after a long wait") {
    auto pair = socket_pair();
    const int number = pair.here.get();
    descriptor there = std::move(pair.there);
    for (int i = 0; i < 10; ++i) {
        put(there.get());
        run_async_task(wait_readable(number));
        there = reopen(number);
        auto future = submit_and_let_it_wait(wait_readable(number));
        run_async_task(sleep_for(5ms));
        put(there.get());
        future.get();
    }
    CHECK(take(number));
}

TEST_CASE("a new descriptor is found under an old number although a copy keeps the old one open") {
    auto pair = socket_pair();
    const int number = pair.here.get();
    std::vector<descriptor> copies;
    std::vector<descriptor> other_ends;
    other_ends.push_back(std::move(pair.there));
    for (int i = 0; i < 20; ++i) {
        put(other_ends.back().get());
        run_async_task(wait_readable(number));
        copies.emplace_back(::dup(number));
        other_ends.push_back(reopen(number));
        auto future = submit_async_task(read_byte(number));
        put(other_ends[static_cast<std::size_t>(i)].get());
        run_async_task(sleep_for(2ms));
        REQUIRE(future.wait_for(0s) == std::future_status::timeout);
        put(other_ends.back().get());
        future.get();
        // Several bytes wait in the old ones: they must neither wake this one for ever nor hide what comes.
        put(other_ends.back().get());
    }
    CHECK(take(number));
}

TEST_CASE("a number may become another kind of descriptor") {
    auto pair = socket_pair();
    const int number = pair.here.get();
    put(pair.there.get());
    run_async_task(wait_readable(number));

    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
    REQUIRE(file);
    REQUIRE(::dup2(::fileno(file.get()), number) == number);
    run_async_task(wait_readable(number));
    run_async_task(wait_writable(number));

    const auto pipe = pipe_pair();
    REQUIRE(::dup2(pipe.here.get(), number) == number);
    auto future = submit_and_let_it_wait(wait_readable(number));
    run_async_task(yield());
    put(pipe.there.get());
    future.get();
    CHECK(take(number));
}

TEST_CASE("waiting for several descriptors and time at once") {
    const auto first = socket_pair();
    const auto second = socket_pair();
    const auto won = [&]() -> task<std::size_t> {
        const auto ready = co_await sincpro::when_any(wait_readable(first.here.get()), wait_readable(second.here.get()),
                                                      sleep_for(1h));
        co_return ready.index();
    };
    auto future = submit_async_task(won());
    run_async_task(yield());
    put(second.there.get());
    CHECK(future.get() == 1);
    CHECK(take(second.here.get()));
    future = submit_async_task(won());
    run_async_task(yield());
    put(first.there.get());
    CHECK(future.get() == 0);
}

TEST_CASE("two coroutines send a byte back and forth") {
    const auto pair = socket_pair();
    struct coroutines {
        static task<> play(int fd, int rounds, bool serves) {
            for (int i = 0; i < rounds; ++i) {
                if (serves) {
                    co_await write_byte(fd);
                }
                co_await read_byte(fd);
                if (!serves) {
                    co_await write_byte(fd);
                }
            }
        }
    };
    run_async_task(sincpro::when_all(coroutines::play(pair.here.get(), 10'000, true),
                                     coroutines::play(pair.there.get(), 10'000, false)));
    CHECK_FALSE(take(pair.here.get()));
    CHECK_FALSE(take(pair.there.get()));
}

TEST_CASE("1,000 socket pairs are served at once") {
    ::rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const ::rlimit before = limit;
    limit.rlim_cur = std::min<::rlim_t>(limit.rlim_max, 4096);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const std::size_t pairs = limit.rlim_cur > 2'100 ? 1'000 : 400;
    {
        std::vector<ends> all;
        for (std::size_t i = 0; i < pairs; ++i) {
            all.push_back(socket_pair());
        }
        struct coroutines {
            static task<> echo(int fd, int rounds) {
                for (int i = 0; i < rounds; ++i) {
                    co_await read_byte(fd);
                    co_await write_byte(fd);
                }
            }
            static task<> ask(int fd, int rounds) {
                for (int i = 0; i < rounds; ++i) {
                    co_await write_byte(fd);
                    co_await read_byte(fd);
                }
            }
        };
        std::vector<task<>> everybody;
        for (const auto& pair : all) {
            everybody.push_back(coroutines::echo(pair.here.get(), 20));
            everybody.push_back(coroutines::ask(pair.there.get(), 20));
        }
        run_async_task(sincpro::when_all(std::move(everybody)));

        std::vector<sincpro::task_future<void>> waiting;
        for (const auto& pair : all) {
            waiting.push_back(submit_async_task(read_byte(pair.here.get())));
        }
        for (const auto& pair : all) {
            put(pair.there.get());
        }
        for (auto& future : waiting) {
            future.get();
        }
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    SUCCEED();
}

TEST_CASE("descriptors may be waited for on several workers") {
    const auto pair = socket_pair();
    sincpro::worker first;
    sincpro::worker second;
    auto reads = first.submit(read_byte(pair.here.get()));
    auto writes = second.submit([&]() -> task<> {
        co_await sleep_for(2ms);
        co_await wait_writable(pair.there.get());
        put(pair.there.get());
    });
    writes.get();
    reads.get();
}

TEST_CASE("a worker can be shut down and started again while descriptors are waited for") {
    const auto pair = socket_pair();
    sincpro::worker w;
    for (int i = 0; i < 20; ++i) {
        auto future = w.submit(wait_readable(pair.here.get()));
        w.run(yield());
        w.shutdown();
        REQUIRE_THROWS_AS(future.get(), operation_cancelled);
    }
    put(pair.there.get());
    w.run(wait_readable(pair.here.get()));
    CHECK(take(pair.here.get()));
}

#else

TEST_CASE("wait_readable and wait_writable are not there on this system") { CHECK(true); }

#endif
