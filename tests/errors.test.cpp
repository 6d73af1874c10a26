#include <sincpro/async_worker/errors.hpp>

#include <sincpro/async_worker/run_async_task.hpp>
#include <sincpro/async_worker/sleep_for.hpp>
#include <sincpro/async_worker/task.hpp>
#include <sincpro/async_worker/worker.hpp>

#include <chrono>
#include <exception>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/events.hpp"
#include "support/thrown.hpp"

namespace {

using namespace std::chrono_literals;
using sincpro::operation_cancelled;
using sincpro::task;
using sincpro::timeout_error;
using sincpro::worker_stopped;
using support::thrown;

static_assert(std::is_base_of_v<std::system_error, timeout_error>);
static_assert(std::is_base_of_v<std::system_error, operation_cancelled>);
static_assert(std::is_base_of_v<operation_cancelled, worker_stopped>);
static_assert(!std::is_base_of_v<operation_cancelled, timeout_error>);
static_assert(std::is_nothrow_copy_constructible_v<timeout_error>);
static_assert(std::is_nothrow_copy_constructible_v<operation_cancelled>);
static_assert(std::is_nothrow_copy_constructible_v<worker_stopped>);

constexpr unsigned inner_line = __LINE__ + 1;
task<> inner() { co_await sincpro::sleep_for(std::chrono::hours::max()); }

constexpr unsigned outer_line = __LINE__ + 1;
task<> outer() { co_await inner(); }

/// The error of a run whose task had time to begin.
timeout_error timed_out(task<> (*coroutine)()) {
    sincpro::worker w({.cancel_grace = std::chrono::milliseconds::max()});
    for (std::chrono::milliseconds timeout(5); timeout < support::patience; timeout *= 2) {
        auto error = thrown<timeout_error>([&] { return (w.run(coroutine(), timeout), 0); });
        if (!error.suspended_at().empty()) {
            return error;
        }
    }
    throw std::logic_error("no timeout_error says where its task was suspended");
}

}  // namespace

TEST_CASE("each error has the code of the standard library") {
    CHECK(timeout_error().code() == std::errc::timed_out);
    CHECK(operation_cancelled().code() == std::errc::operation_canceled);
    CHECK(worker_stopped().code() == std::errc::operation_canceled);
}

TEST_CASE("the text of an error is a sentence without the suffix of std::system_error") {
    const std::vector<std::string> texts{timeout_error().what(), operation_cancelled().what(), worker_stopped().what(),
                                         timeout_error("the server took too long").what()};
    for (const auto& text : texts) {
        CHECK_FALSE(text.empty());
        CHECK_THAT(text, !support::contains(std::make_error_code(std::errc::timed_out).message()));
        CHECK_THAT(text, !support::contains(std::make_error_code(std::errc::operation_canceled).message()));
        CHECK_THAT(text, !support::contains("\n"));
    }
    CHECK(texts[3] == "the server took too long");
    CHECK(texts[1] != texts[2]);
}

TEST_CASE("a task may throw the library's errors itself") {
    struct coroutines {
        static task<> times_out() {
            co_await sincpro::yield();
            throw timeout_error("mine");
        }
        static task<> cancels() {
            co_await sincpro::yield();
            throw operation_cancelled();
        }
    };
    const auto error = thrown<timeout_error>([] { return (sincpro::run_async_task(coroutines::times_out(), 60s), 0); });
    CHECK(std::string(error.what()) == "mine");
    CHECK(error.task_stopped());
    CHECK(error.suspended_at().empty());
    CHECK_THROWS_AS(sincpro::run_async_task(coroutines::cancels(), 60s), operation_cancelled);
}

TEST_CASE("an error that was moved from still says what it is") {
    timeout_error first("late", false, {{"a.cpp", "f", 3}});
    const timeout_error second = std::move(first);
    timeout_error third;
    third = std::move(first);
    for (const timeout_error* const e : std::initializer_list<const timeout_error*>{&first, &second, &third}) {
        CHECK(std::string(e->what()) == "late");
        CHECK_FALSE(e->task_stopped());
        CHECK(e->suspended_at().size() == 1);
    }
}

TEST_CASE("a timeout_error says where its task was suspended, innermost first") {
    const auto error = timed_out(outer);
    const auto chain = error.suspended_at();
    REQUIRE(chain.size() == 2);
    CHECK(chain[0].line == inner_line);
    CHECK(chain[1].line == outer_line);
    for (const auto& at : chain) {
        CHECK_THAT(std::string(at.file), Catch::Matchers::EndsWith("errors.test.cpp"));
    }
    CHECK_THAT(std::string(chain[0].function), support::contains("inner"));
    CHECK_THAT(std::string(chain[1].function), support::contains("outer"));
    const std::string what = error.what();
    CHECK_THAT(what, support::contains("errors.test.cpp:" + std::to_string(inner_line)));
    CHECK_THAT(what, support::contains("errors.test.cpp:" + std::to_string(outer_line)));
    CHECK_THAT(what, !support::contains("\n"));
}

TEST_CASE("a copy of a timeout_error tells the same and outlives the original") {
    std::exception_ptr last;
    std::string text;
    {
        const auto original = timed_out(outer);
        text = original.what();
        last = std::make_exception_ptr(original);
    }
    const auto copy = thrown<timeout_error>([&] {
        std::rethrow_exception(last);
        return 0;
    });
    last = nullptr;
    CHECK(copy.what() == text);
    CHECK(copy.suspended_at().size() == 2);
    CHECK(copy.suspended_at().front().line == inner_line);
    timeout_error assigned;
    assigned = copy;
    CHECK(assigned.what() == text);
    CHECK(assigned.task_stopped());
}
