#include <sincpro/async_worker.hpp>

// The n-th thread, epoll instance, eventfd or registration that is asked of the system is refused: for every n, until a run
// gets through without. The functions below stand in front of the system's own.
#if defined(SINCPRO_DETAIL_POLLER_EPOLL)

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <future>
#include <iostream>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/descriptors.hpp"
#include "support/events.hpp"
#include "support/faults.hpp"
#include "support/sanitizers.hpp"
#include "support/threads.hpp"

namespace {

[[maybe_unused]] support::fault thread_creation;
support::fault epoll_creation, eventfd_creation, registration, exit_handler;
void (*registered)() = nullptr;  // called when a handler for the exit is registered

int refused(int error) {
    errno = error;
    return -1;
}

}  // namespace

extern "C" {

int __cxa_atexit(void (*)(void*), void*, void*) noexcept;

int epoll_create1(int flags) noexcept {
    return epoll_creation.strikes() ? refused(EMFILE) : static_cast<int>(::syscall(SYS_epoll_create1, flags));
}
int eventfd(unsigned count, int flags) noexcept {
    return eventfd_creation.strikes() ? refused(ENFILE) : static_cast<int>(::syscall(SYS_eventfd2, count, flags));
}
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
    if (operation != EPOLL_CTL_DEL && registration.strikes()) return refused(ENOMEM);
    return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

int atexit(void (*f)()) noexcept {
    if (exit_handler.strikes()) return -1;
    const int error =
        __cxa_atexit([](void* g) { reinterpret_cast<void (*)()>(g)(); }, reinterpret_cast<void*>(f), nullptr);
    if (registered) registered();
    return error;
}

#if !TESTS_WITH_ADDRESS_SANITIZER  // which must see how threads begin
int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*run)(void*), void* argument) noexcept {
    using function = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto real = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "pthread_create"));
    return thread_creation.strikes() ? EAGAIN : real(thread, how, run, argument);
}
#endif
}

namespace {

using namespace std::chrono_literals;
using namespace sincpro;
using support::counted;
using support::failing;
using support::fault;
using support::lifetimes;
using support::on;

task<int> answer(int value, [[maybe_unused]] counted object) {
    co_await yield();
    co_return value;
}
int adds_one(int value, const counted&) { return value + 1; }

void starts(worker& w, const lifetimes& objects) {
    if (w.run(answer(42, counted(objects))) != 42) throw std::logic_error("another value");
    w.shutdown();
    task_future<int> second = w.submit(answer(43, counted(objects)));
    if (second.get() != 43) throw std::logic_error("another value");
}

[[maybe_unused]] void uses_threads(worker& w, const lifetimes& objects) {
    const auto both =
        w.run(when_all(to_thread(adds_one, 1, counted(objects)), to_thread(adds_one, 2, counted(objects))));
    if (both != std::tuple(2, 3)) throw std::logic_error("other values");
}

task<> reads_and_writes(int fd) {
    co_await wait_writable(fd);
    co_await wait_readable(fd);
}
task<> writes(int fd) {
    co_await sleep_for(1ms);
    support::write_byte(fd);
}
void waits_for_descriptors(worker& w, const lifetimes&) {
    support::socket_pair sockets;
    support::fill(sockets.here.get());
    const auto drains = [](int fd) -> task<> {
        co_await yield();
        support::drain(fd);
    };
    // Both directions of one descriptor at once.
    w.run(when_all(wait_readable(sockets.here.get()), wait_writable(sockets.here.get()), drains(sockets.there.get()),
                   writes(sockets.there.get())));
    support::drain(sockets.here.get());
    w.run(when_all(reads_and_writes(sockets.here.get()), writes(sockets.there.get())));
}

task<> reads(int fd) {
    co_await wait_readable(fd);
    support::drain(fd);
}
/// A registration that no number reaches any more, which the poller gets rid of by beginning anew.
void loses_a_descriptor(worker& w, const lifetimes&) {
    support::socket_pair old, other;
    const int number = old.here.get();
    support::write_byte(old.there.get());
    w.run(reads(number));
    const support::open_descriptor copy(::dup(number));
    old.here.close();
    support::write_byte(old.there.get());
    w.run(when_all(wait_readable(other.here.get()), writes(other.there.get()), sleep_for(3ms)));
    w.run(sleep_for(1ms));
}

using program = void (*)(worker&, const lifetimes&);
struct outcome {
    long struck = 0, thrown = 0;
};

/// As the calls fail one by one: what was thrown is the error of the system, the next call works, and nothing is left.
outcome strike_each(fault& f, program p, int error) {
    outcome all;
    for (const on where : {on::caller, on::others, on::all}) {
        for (const failing how : {failing::once, failing::from_then_on}) {
            for (long n = 0;; ++n) {
                CAPTURE(n, static_cast<int>(where), static_cast<int>(how));
                const std::size_t before = support::open_descriptors();
                const lifetimes objects;
                std::exception_ptr thrown;
                long struck = 0;
                bool answers = false;
                {
                    worker w({.name = "faulty", .shutdown_grace = 10s});
                    f.arm(n, where, how);
                    try {
                        p(w, objects);
                    } catch (...) {
                        thrown = std::current_exception();
                    }
                    struck = f.disarm();
                    // Not run(): a wake-up that is lost would block this test for ever.
                    answers = w.submit(answer(1, counted(objects))).wait_for(10s) == std::future_status::ready;
                }
                REQUIRE(answers);
                REQUIRE(objects.wait_until_gone());
                REQUIRE(support::open_descriptors() == before);
                if (struck == 0) REQUIRE(thrown == nullptr);
                if (thrown) {
                    try {
                        std::rethrow_exception(thrown);
                    } catch (const std::system_error& e) {
                        REQUIRE(e.code().value() == error);
                        ++all.thrown;
                    }
                }
                all.struck += struck;
                if (struck == 0) break;
            }
        }
    }
    return all;
}

void report(const char* what, const outcome& o) {
    std::cout << o.struck << " times " << what << " was refused, " << o.thrown << " calls threw\n";
    CHECK(o.struck > 0);
}

void is_an_error(const char* what, support::fault& f, program run, int error) {
    const outcome o = strike_each(f, run, error);
    report(what, o);
    CHECK(o.thrown > 0);
}

}  // namespace

#if !TESTS_WITH_ADDRESS_SANITIZER
TEST_CASE("a worker whose thread cannot be started says so, and the next call tries again") {
    is_an_error("a thread", thread_creation, starts, EAGAIN);
}

TEST_CASE("a function that gets no thread is an error of its task") {
    is_an_error("a thread for a function", thread_creation, uses_threads, EAGAIN);
}
#endif

TEST_CASE("a worker that gets no descriptors says so, and the next call tries again") {
    is_an_error("an epoll instance", epoll_creation, starts, EMFILE);
    is_an_error("an eventfd", eventfd_creation, starts, ENFILE);
    is_an_error("the registration of the eventfd", registration, starts, ENOMEM);
}

TEST_CASE("a descriptor that the system will not watch is an error of the task that waits for it, and of no other") {
    is_an_error("a registration", registration, waits_for_descriptors, ENOMEM);
}

TEST_CASE("a poller that cannot begin anew goes on, and tries again") {
    report("an epoll instance", strike_each(epoll_creation, loses_a_descriptor, EMFILE));
    report("a registration", strike_each(registration, loses_a_descriptor, ENOMEM));
}

// Before any other test that makes the default worker.
TEST_CASE("a process may exit while another thread makes the default worker") {
    if (!support::fork_is_testable) return;
    const pid_t child = ::fork();
    if (child == 0) {
        static const support::gate in_between, exiting;
        registered = [] {
            ::__cxa_atexit([](void*) { exiting.open(); }, nullptr, nullptr);  // called before what was just registered
            in_between.open();
            exiting.wait();
            std::this_thread::sleep_for(20ms);  // likely enough for the other thread to come to the library's handler
        };
        std::thread([] {
            try {
                run_async_task(yield());
            } catch (const operation_cancelled&) {  // it came too late
            }
        }).detach();
        in_between.wait();
        std::exit(8);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 8);
}

TEST_CASE("a default worker that cannot be shut down at exit is not made, and the next call tries again") {
    const lifetimes objects;
    exit_handler.arm(0, on::all, failing::once);
    CHECK_THROWS_AS(run_async_task(answer(1, counted(objects))), std::bad_alloc);
    REQUIRE(exit_handler.disarm() == 1);
    CHECK(run_async_task(answer(2, counted(objects))) == 2);
    if (!support::fork_is_testable) return;
    // A fork visits every worker, each once.
    const pid_t child = ::fork();
    if (child == 0) ::_exit(7);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
}

#else

#include "support/catch.hpp"

TEST_CASE("what only Linux can refuse is not refused here") { CHECK(true); }

#endif
