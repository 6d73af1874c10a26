#include <sincpro/async_worker/detail/loop/poller.hpp>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstddef>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/sanitizers.hpp"
#include "support/thrown.hpp"

#if defined(__linux__)
#include <fstream>

#include <sys/resource.h>
#include <unistd.h>
#endif

namespace {

using namespace std::chrono_literals;
using sincpro::detail::clock;
using sincpro::detail::poller;

constexpr auto for_ever = clock::time_point::max();
constexpr auto only_look = clock::time_point::min();

/// Several times, since a wait may end early for reasons of the poller's own.
void wait_until(poller& p, clock::time_point until) {
    while (clock::now() < until) {
        p.wait(until);
    }
}

}  // namespace

TEST_CASE("a wait without a reason to end lasts until its time, never shorter") {
    poller p;
    for (const auto limit : {0us, 1us, 99us, 1000us, 1001us, 3300us, 20'000us}) {
        const auto until = clock::now() + limit;
        p.wait(until);
        CHECK(clock::now() >= until);
    }
}

TEST_CASE("a wait for a time that is over, or for none, only looks") {
    // Would hang otherwise, or last for years.
    poller p;
    p.wait(only_look);
    p.wait(clock::now() - 1h);
    p.wait(clock::time_point());
    p.wait(clock::time_point(clock::duration::min() / 2));
    CHECK_FALSE(p.in_use());
}

TEST_CASE("a wake-up before a wait ends it, however many there were") {
    poller p;
    for (const int wakes : {1, 2, 64, 1000}) {
        for (int i = 0; i < wakes; ++i) {
            p.wake();
        }
        p.wait(for_ever);
    }
    p.wake();
    p.wait(clock::now() + 24h * 365 * 200);
    CHECK_FALSE(p.in_use());
}

TEST_CASE("a wake-up ends one wait, not the next one") {
    poller p;
    p.wake();
    p.wait(for_ever);
    for (int i = 0; i < 3; ++i) {
        const auto until = clock::now() + 2ms;
        p.wait(until);
        CHECK(clock::now() >= until);
    }
}

TEST_CASE("a wake-up by another thread ends a wait, wherever the two meet") {
    poller p;
    const support::arrivals waits, wakes;
    constexpr std::size_t rounds = 3'000;
    std::thread other([&] {
        for (std::size_t i = 1; i <= rounds; ++i) {
            if (!waits.wait_for(i)) {
                return;
            }
            if (i % 3 == 0) {
                std::this_thread::sleep_for(10us);  // so that some wakes come in the middle of a wait
            }
            p.wake();
            wakes.arrive();
        }
    });
    for (std::size_t i = 1; i <= rounds; ++i) {
        waits.arrive();
        p.wait(for_ever);
        if (!wakes.wait_for(i)) {
            break;
        }
    }
    other.join();
    CHECK(wakes.count() == rounds);
}

#if !defined(SINCPRO_DETAIL_POLLER_CONDITION)

namespace {

using sincpro::detail::descriptor_wait;
using sincpro::detail::direction;
using sincpro::detail::unique_descriptor;
using support::open_descriptor;
using support::socket_pair;

/// Waits for a descriptor and notes that it was told.
struct waiter : descriptor_wait {
    waiter(int descriptor, direction d) : descriptor_wait(descriptor, d, &waiter::told) {}
    static void told(descriptor_wait& w, int error) noexcept {
        auto& self = static_cast<waiter&>(w);
        ++self.count;
        self.error = error;
    }
    int count = 0;
    int error = 0;
};

/// True as soon as it has been told, false if that takes too long.
bool is_told(poller& p, const waiter& w, int times = 1) {
    const auto give_up = clock::now() + support::patience;
    while (w.count < times && clock::now() < give_up) {
        p.wait(give_up);
    }
    return w.count == times;
}

/// Adds `w`; what is always ready counts as told.
void add(poller& p, waiter& w) {
    if (!p.add(w)) {
        ++w.count;
    }
}

/// True if the poller sleeps until it is told to stop, after a number of rounds that has a bound. `each_round` is called
/// after each of them.
template <class EachRound>
bool comes_to_rest(poller& p, EachRound each_round) {
    int asleep = 0;
    for (int rounds = 0; rounds < 2'000; ++rounds) {
        const auto until = clock::now() + 5ms;
        p.wait(until);
        asleep = clock::now() >= until ? asleep + 1 : 0;
        each_round();
        if (asleep == 5) {
            return true;
        }
    }
    return false;
}

std::error_code error_of_adding(poller& p, waiter& w) {
    return support::thrown<std::system_error>([&] { return p.add(w); }).code();
}

}  // namespace

TEST_CASE("milliseconds are rounded up and bounded") {
    using sincpro::detail::to_milliseconds;
    CHECK(to_milliseconds(0ns) == 0);
    CHECK(to_milliseconds(1ns) == 1);
    CHECK(to_milliseconds(1ms) == 1);
    CHECK(to_milliseconds(1ms + 1ns) == 2);
    CHECK(to_milliseconds(24h * 365 * 200) > 0);
    CHECK(std::chrono::milliseconds(to_milliseconds(clock::duration::max())) > 24h);
}

TEST_CASE("a descriptor closes itself once, and an invalid one is the error that errno says") {
    const socket_pair pair;
    const int number = ::dup(pair.here.get());
    {
        unique_descriptor first(number, "");
        unique_descriptor second(std::move(first));
        CHECK(first.get() == -1);
        CHECK(second.get() == number);
        unique_descriptor third(::dup(pair.here.get()), "");
        const int other = third.get();
        third = std::move(second);
        CHECK(third.get() == number);
        CHECK(second.get() == other);
    }
    CHECK(::fcntl(number, F_GETFD) == -1);
    errno = EMFILE;
    CHECK(support::thrown<std::system_error>([] { return unique_descriptor(-1, "text").get(); }).code() ==
          std::errc::too_many_files_open);
}

TEST_CASE("a descriptor that is ready is told at once, and once") {
    socket_pair pair;
    support::write_byte(pair.there.get());
    poller p;
    waiter reader(pair.here.get(), direction::readable);
    waiter writer(pair.here.get(), direction::writable);
    REQUIRE(p.add(reader));
    REQUIRE(p.add(writer));
    CHECK(p.in_use());
    p.wait(only_look);
    CHECK(reader.count == 1);
    CHECK(writer.count == 1);
    CHECK(reader.error == 0);
    CHECK(writer.error == 0);
    CHECK_FALSE(p.in_use());
    p.wait(only_look);
    p.wait(only_look);
    CHECK(reader.count == 1);
    CHECK(writer.count == 1);
}

TEST_CASE("a descriptor that becomes ready ends a wait") {
    socket_pair pair;
    poller p;
    SECTION("readable") {
        waiter w(pair.here.get(), direction::readable);
        REQUIRE(p.add(w));
        p.wait(only_look);
        CHECK(w.count == 0);
        std::thread other([&] { support::write_byte(pair.there.get()); });
        CHECK(is_told(p, w));
        other.join();
    }
    SECTION("writable") {
        support::fill(pair.here.get());
        waiter w(pair.here.get(), direction::writable);
        REQUIRE(p.add(w));
        p.wait(only_look);
        CHECK(w.count == 0);
        std::thread other([&] { support::drain(pair.there.get()); });
        CHECK(is_told(p, w));
        other.join();
    }
}

TEST_CASE("one that waits again without having read is told again") {
    socket_pair pair;
    poller p;
    support::write_byte(pair.there.get());
    waiter w(pair.here.get(), direction::readable);
    for (int i = 1; i <= 100; ++i) {
        REQUIRE(p.add(w));
        p.wait(only_look);
        REQUIRE(w.count == i);
        if (i % 10 == 0) {
            p.wait(only_look);  // ready, and nobody waits
        }
    }
    CHECK(support::read_byte(pair.here.get()));
    REQUIRE(p.add(w));
    p.wait(only_look);
    CHECK(w.count == 100);
    support::write_byte(pair.there.get());
    CHECK(is_told(p, w, 101));
}

TEST_CASE("a descriptor that is ready while nobody waits for it disturbs no wait") {
    socket_pair pair;
    poller p;
    waiter w(pair.here.get(), direction::readable);
    support::write_byte(pair.there.get());
    REQUIRE(p.add(w));
    REQUIRE(is_told(p, w));
    CHECK(comes_to_rest(p, [] {}));
    SECTION("nor one for the other direction") {
        support::fill(pair.here.get());
        waiter other(pair.here.get(), direction::writable);
        REQUIRE(p.add(other));
        CHECK(comes_to_rest(p, [] {}));
        CHECK(other.count == 0);
        support::drain(pair.there.get());
        CHECK(is_told(p, other));
    }
    SECTION("nor does one that was closed") {
        pair.here.close();
        CHECK(comes_to_rest(p, [] {}));
    }
}

TEST_CASE("one that was removed is not told, and the other direction still is") {
    socket_pair pair;
    support::fill(pair.here.get());
    poller p;
    waiter reader(pair.here.get(), direction::readable);
    waiter writer(pair.here.get(), direction::writable);
    REQUIRE(p.add(reader));
    REQUIRE(p.add(writer));
    p.remove(reader);
    CHECK(p.in_use());
    support::write_byte(pair.there.get());
    support::drain(pair.there.get());
    CHECK(is_told(p, writer));
    CHECK(reader.count == 0);
    CHECK_FALSE(p.in_use());
    REQUIRE(p.add(reader));
    CHECK(is_told(p, reader));
}

TEST_CASE("a hang-up counts as ready") {
    socket_pair pair;
    support::fill(pair.here.get());
    poller p;
    waiter reader(pair.here.get(), direction::readable);
    waiter writer(pair.here.get(), direction::writable);
    REQUIRE(p.add(reader));
    REQUIRE(p.add(writer));
    pair.there.close();
    CHECK(is_told(p, reader));
    CHECK(is_told(p, writer));
    CHECK(comes_to_rest(p, [] {}));
}

TEST_CASE("a second waiter for the same direction is refused, and the first is not disturbed") {
    socket_pair pair;
    poller p;
    waiter first(pair.here.get(), direction::readable);
    waiter second(pair.here.get(), direction::readable);
    REQUIRE(p.add(first));
    CHECK(error_of_adding(p, second) == std::errc::device_or_resource_busy);
    support::write_byte(pair.there.get());
    CHECK(is_told(p, first));
    CHECK(second.count == 0);
    REQUIRE(p.add(second));
    CHECK(is_told(p, second));
}

TEST_CASE("what is not open is refused at once") {
    poller p;
    socket_pair pair;
    const int closed = pair.here.get();
    waiter before(closed, direction::readable);
    support::write_byte(pair.there.get());
    REQUIRE(p.add(before));
    REQUIRE(is_told(p, before));
    p.wait(only_look);  // ready, nobody waits: the poller forgets it
    pair.here.close();
    for (const int number : {-1, INT_MIN, closed, 1'000'000}) {
        for (const direction d : {direction::readable, direction::writable}) {
            waiter w(number, d);
            CHECK(error_of_adding(p, w) == std::errc::bad_file_descriptor);
        }
    }
    CHECK_FALSE(p.in_use());
}

#if defined(SINCPRO_DETAIL_POLLER_EPOLL)
TEST_CASE("the poller's own descriptors are refused") {
    std::vector<int> free;  // the next ones that the system gives
    {
        const socket_pair pair;
        free = {pair.here.get(), pair.there.get()};
    }
    poller p;
    for (const int number : free) {
        REQUIRE(::fcntl(number, F_GETFD) != -1);
        waiter w(number, direction::readable);
        CHECK(error_of_adding(p, w) == std::errc::bad_file_descriptor);
    }
    p.wake();
    p.wait(for_ever);
}
#endif

#if defined(__linux__) && !TESTS_WITH_ADDRESS_SANITIZER && !TESTS_WITH_THREAD_SANITIZER
namespace {

/// Lets the process have only a little more memory than it has, while it lives.
class little_memory {
public:
    little_memory() {
        std::size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        ::getrlimit(RLIMIT_AS, &before_);
        rlimit now = before_;
        now.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + (64U << 20U);
        ::setrlimit(RLIMIT_AS, &now);
    }
    little_memory(const little_memory&) = delete;
    little_memory& operator=(const little_memory&) = delete;
    ~little_memory() { ::setrlimit(RLIMIT_AS, &before_); }

private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("a number that is far from every descriptor is refused like any other, and costs no memory") {
    poller p;
    const little_memory limit;
    for (const int number : {100'000'000, INT_MAX}) {
        waiter w(number, direction::readable);
        CHECK(error_of_adding(p, w) == std::errc::bad_file_descriptor);
    }
}
#endif

TEST_CASE("a regular file is always ready, and a folder") {
    const open_descriptor file = support::temporary_file();
    const open_descriptor folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    poller p;
    for (const int fd : {file.get(), folder.get()}) {
        for (const direction d : {direction::readable, direction::writable}) {
            waiter w(fd, d);
            add(p, w);
            CHECK(is_told(p, w));
            CHECK(w.error == 0);
        }
    }
    CHECK_FALSE(p.in_use());
}

TEST_CASE("a number that was closed and opened again is a new descriptor") {
    socket_pair old, fresh;
    const int number = old.here.get();
    poller p;
    support::write_byte(old.there.get());
    waiter w(number, direction::readable);
    REQUIRE(p.add(w));
    REQUIRE(is_told(p, w));
    support::reopen(number, fresh.here.get());
    SECTION("which is ready later") {
        REQUIRE(p.add(w));
        CHECK(comes_to_rest(p, [] {}));
        CHECK(w.count == 1);
        support::write_byte(fresh.there.get());
        CHECK(is_told(p, w, 2));
    }
    SECTION("which is ready already") {
        support::write_byte(fresh.there.get());
        REQUIRE(p.add(w));
        CHECK(is_told(p, w, 2));
    }
    SECTION("which is ready while others keep the poller busy") {
        support::write_byte(fresh.there.get());
        REQUIRE(p.add(w));
        socket_pair busy;
        support::write_byte(busy.there.get());
        waiter other(busy.here.get(), direction::readable);
        for (int round = 0; round < 1'000 && w.count == 1; ++round) {
            REQUIRE(p.add(other));
            p.wait(for_ever);
            REQUIRE(other.count == round + 1);
        }
        CHECK(w.count == 2);
    }
    SECTION("which is waited for in the other direction") {
        waiter writer(number, direction::writable);
        REQUIRE(p.add(writer));
        CHECK(is_told(p, writer));
    }
    SECTION("which has a waiter in each direction") {
        support::fill(fresh.here.get());
        waiter writer(number, direction::writable);
        REQUIRE(p.add(w));
        REQUIRE(p.add(writer));
        support::drain(fresh.there.get());
        CHECK(is_told(p, writer));
        CHECK(w.count == 1);
        support::write_byte(fresh.there.get());
        CHECK(is_told(p, w, 2));
    }
    SECTION("which is a regular file") {
        const open_descriptor file = support::temporary_file();
        support::reopen(number, file.get());
        add(p, w);
        CHECK(is_told(p, w, 2));
        CHECK(w.error == 0);
    }
    SECTION("or none at all") {
        old.here.close();
        try {
            p.add(w);
            CHECK(is_told(p, w, 2));
            CHECK(w.error == EBADF);
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::bad_file_descriptor);
        }
    }
    CHECK((w.count == 2 || !p.in_use() || w.count == 1));
}

TEST_CASE("waits that trust the kernel's memory may end and begin again in any order") {
    socket_pair pairs[3];
    poller p;
    std::vector<waiter> waiters;
    for (const socket_pair& pair : pairs) {
        support::write_byte(pair.there.get());
        waiters.emplace_back(pair.here.get(), direction::readable);
    }
    for (waiter& w : waiters) {
        REQUIRE(p.add(w));
        REQUIRE(is_told(p, w));
        support::drain(pairs[static_cast<std::size_t>(&w - waiters.data())].here.get());
    }
    int order[] = {0, 1, 2};
    do {
        for (waiter& w : waiters) {
            REQUIRE(p.add(w));
        }
        for (const int i : order) {
            p.remove(waiters[static_cast<std::size_t>(i)]);
            REQUIRE(p.add(waiters[static_cast<std::size_t>(i)]));
        }
        for (const int i : order) {
            p.remove(waiters[static_cast<std::size_t>(i)]);
        }
        REQUIRE_FALSE(p.in_use());
        const auto until = clock::now() + 3ms;  // they would be verified after one
        wait_until(p, until);
    } while (std::next_permutation(std::begin(order), std::end(order)));
    REQUIRE(p.add(waiters[0]));
    support::write_byte(pairs[0].there.get());
    CHECK(is_told(p, waiters[0], 2));
}

#if defined(SINCPRO_DETAIL_POLLER_EPOLL)
TEST_CASE("a waiter whose registration another one found to be stale is told of the new descriptor") {
    socket_pair old, fresh;
    const int number = old.here.get();
    poller p;
    support::write_byte(old.there.get());
    waiter reader(number, direction::readable), writer(number, direction::writable);
    REQUIRE(p.add(reader));
    REQUIRE(is_told(p, reader));
    old.here.close();
    REQUIRE(p.add(reader));  // believed
    CHECK(error_of_adding(p, writer) == std::errc::bad_file_descriptor);
    REQUIRE(::dup2(fresh.here.get(), number) == number);
    support::write_byte(fresh.there.get());
    CHECK(is_told(p, reader, 2));
    ::close(number);
}
#endif

TEST_CASE("what a closed number meant does not keep the poller busy while a copy of it is open elsewhere") {
    socket_pair old, fresh;
    const int number = old.here.get();
    poller p;
    waiter w(number, direction::readable);
    support::write_byte(old.there.get());
    REQUIRE(p.add(w));
    REQUIRE(is_told(p, w));
    REQUIRE(support::read_byte(number));
    // Nothing is ready, so it stays known to the system; the copy keeps it alive there, beyond the reach of any number.
    const open_descriptor copy(::dup(number));

    SECTION("nobody waits for the number") {
        old.here.close();
        support::write_byte(old.there.get());
        CHECK(comes_to_rest(p, [] {}));
    }
    SECTION("nobody waits for the number, others do for theirs") {
        old.here.close();
        support::write_byte(old.there.get());
        socket_pair other;
        waiter reader(other.here.get(), direction::readable);
        support::fill(other.there.get());
        waiter writer(other.there.get(), direction::writable);
        REQUIRE(p.add(writer));
        support::drain(other.here.get());
        REQUIRE(is_told(p, writer));
        REQUIRE(p.add(reader));
        CHECK(comes_to_rest(p, [] {}));
        CHECK(reader.count == 0);
        support::write_byte(other.there.get());
        CHECK(is_told(p, reader));
    }
    SECTION("nobody waits for the number, and another was closed while somebody waits for it, who is told so") {
        socket_pair other;
        waiter lost(other.here.get(), direction::readable);
        REQUIRE(p.add(lost));
        other.here.close();
        old.here.close();
        support::write_byte(old.there.get());
        CHECK(is_told(p, lost));
        CHECK(lost.error == EBADF);
    }
    SECTION("the number is open again and nobody waits for it") {
        support::reopen(number, fresh.here.get());
        support::write_byte(old.there.get());
        CHECK(comes_to_rest(p, [] {}));
    }
    SECTION("the number is open again and waited for, as soon as the old one is ready") {
        support::reopen(number, fresh.here.get());
        support::write_byte(old.there.get());
        REQUIRE(p.add(w));
        // As a task does: what it is told may be wrong, so it looks, and waits again.
        CHECK(comes_to_rest(p, [&, told = w.count]() mutable {
            if (w.count != std::exchange(told, w.count)) {
                p.add(w);
            }
        }));
        const int told = w.count;
        support::write_byte(fresh.there.get());
        CHECK(is_told(p, w, told + 1));
    }
    SECTION("the number is open again, and was waited for before the old one is ready") {
        support::reopen(number, fresh.here.get());
        REQUIRE(p.add(w));
        CHECK(comes_to_rest(p, [] {}));
        CHECK(w.count == 1);
        support::write_byte(old.there.get());
        CHECK(comes_to_rest(p, [&, told = w.count]() mutable {
            if (w.count != std::exchange(told, w.count)) {
                p.add(w);
            }
        }));
        const int told = w.count;
        support::write_byte(fresh.there.get());
        CHECK(is_told(p, w, told + 1));
    }
    SECTION("the number is open again and waited for in the other direction") {
        support::fill(fresh.here.get());
        support::reopen(number, fresh.here.get());
        waiter writer(number, direction::writable);
        REQUIRE(p.add(writer));
        support::write_byte(old.there.get());
        CHECK(comes_to_rest(p, [&, told = 0]() mutable {
            if (writer.count != std::exchange(told, writer.count)) {
                p.add(writer);
            }
        }));
        const int told = writer.count;
        support::drain(fresh.there.get());
        CHECK(is_told(p, writer, told + 1));
    }
    SECTION("the other end hangs up") {
        support::reopen(number, fresh.here.get());
        REQUIRE(p.add(w));
        old.there.close();
        CHECK(comes_to_rest(p, [&, told = w.count]() mutable {
            if (w.count != std::exchange(told, w.count)) {
                p.add(w);
            }
        }));
        const int told = w.count;
        support::write_byte(fresh.there.get());
        CHECK(is_told(p, w, told + 1));
    }
}

TEST_CASE("more descriptors than fit into one answer of the system are all told, and keep none from being told") {
    std::vector<socket_pair> pairs(200);
    std::vector<waiter> waiters;
    waiters.reserve(2 * pairs.size());
    poller p;
    for (socket_pair& pair : pairs) {
        support::write_byte(pair.here.get());
        support::write_byte(pair.there.get());
        for (const int fd : {pair.here.get(), pair.there.get()}) {
            waiters.emplace_back(fd, direction::readable);
            REQUIRE(p.add(waiters.back()));
        }
    }
    for (int rounds = 0; p.in_use() && rounds < 1'000; ++rounds) {
        p.wait(for_ever);
    }
    int wrong = 0;
    for (const waiter& w : waiters) {
        wrong += w.count != 1 || w.error != 0;
    }
    CHECK(wrong == 0);
}

TEST_CASE("a wake-up and descriptors end waits beside each other") {
    socket_pair pair;
    poller p;
    waiter w(pair.here.get(), direction::readable);
    for (int i = 1; i <= 100; ++i) {
        REQUIRE(p.add(w));
        p.wake();
        p.wait(for_ever);
        support::write_byte(pair.there.get());
        p.wake();
        REQUIRE(is_told(p, w, i));
        REQUIRE(support::read_byte(pair.here.get()));
        wait_until(p, clock::now() + 10us);
    }
    CHECK_FALSE(p.in_use());
}

#endif
