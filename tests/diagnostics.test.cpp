#include <sincpro/async_worker/detail/base/diagnostics.hpp>

#include <sincpro/async_worker.hpp>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "support/catch.hpp"
#include "support/counted.hpp"

namespace {

using sincpro::await_callback;
using sincpro::run_async_task;
using sincpro::task;
using sincpro::to_thread;
using sincpro::detail::check_temporaries;
using sincpro::detail::dies_twice;
using support::counted;
using support::lifetimes;

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
constexpr bool this_compiler_is_faulty = true;
#else
constexpr bool this_compiler_is_faulty = false;
#endif

struct function_object {
    explicit function_object(std::string s) : text(std::move(s)) {}
    std::string operator()() const { return text; }
    std::string text;
};

int function() { return 1; }

/// What is passed as an rvalue and as an lvalue.
template <class F>
constexpr bool refused(const F&) {
    return dies_twice<F>;
}
template <class F>
constexpr bool refused_by_name(const F&) {
    return dies_twice<F&> || dies_twice<const F&>;
}

/// What was made and what was destroyed are the same, and something was made.
bool is_balanced(const lifetimes& log) { return log.constructed() > 0 && log.alive() == 0; }

}  // namespace

TEST_CASE("only a temporary closure whose captures need a destructor is refused, and only by a faulty compiler") {
    const std::string text = "text";
    int number = 1;  // not a constant: a capture of that would be none
    const auto nothing = [] {};
    const auto by_reference = [&text] { return text; };
    const auto trivial = [number] { return number; };
    const auto owning = [text] { return text; };
    const auto generic = [text](auto) { return text; };
    const auto nested = [owning] { return owning(); };

    CHECK_FALSE(refused(nothing));
    CHECK_FALSE(refused(by_reference));
    CHECK_FALSE(refused(trivial));
    CHECK(refused(owning) == this_compiler_is_faulty);
    CHECK(refused(generic) == this_compiler_is_faulty);
    CHECK(refused(nested) == this_compiler_is_faulty);
    CHECK_FALSE(refused_by_name(owning));
    CHECK_FALSE(refused_by_name(generic));
    CHECK_FALSE(refused_by_name(nested));

    CHECK_FALSE(dies_twice<function_object>);
    CHECK_FALSE(dies_twice<std::function<void()>>);
    CHECK_FALSE(dies_twice<std::string>);
    CHECK_FALSE(dies_twice<decltype(&function)>);
    CHECK_FALSE(dies_twice<decltype(function)&>);
    check_temporaries<function_object>();
    check_temporaries<decltype(owning)&>();
}

TEST_CASE("what a named closure captures is destroyed once for each time it was made") {
    const lifetimes log;
    SECTION("to_thread") {
        CHECK(run_async_task([log]() -> task<int> {
                  const auto f = [c = counted(log)] { return 1; };
                  co_return co_await to_thread(f);
              }) == 1);
    }
    SECTION("await_callback") {
        CHECK(run_async_task([log]() -> task<int> {
                  const auto f = [c = counted(log)](sincpro::completion<int> done) { done(2); };
                  co_return co_await await_callback<int>(f);
              }) == 2);
    }
    CHECK(is_balanced(log));
}

TEST_CASE("what is passed as an argument in place of a capture is destroyed once for each time it was made") {
    const lifetimes log;
    CHECK(run_async_task([log]() -> task<int> {
              co_return co_await to_thread([](const counted&, std::unique_ptr<int> n) { return *n; }, counted(log),
                                           std::make_unique<int>(3));
          }) == 3);
    CHECK(is_balanced(log));
}

#if !SINCPRO_DETAIL_CLOSURES_DIE_TWICE
TEST_CASE("what a temporary closure captures is destroyed once for each time it was made, on a compiler that can") {
    const lifetimes log;
    CHECK(run_async_task([log]() -> task<int> {
              const int n = co_await to_thread([c = counted(log), p = std::make_unique<int>(4)] { return *p; });
              co_return n +
                  co_await await_callback<int>([c = counted(log)](sincpro::completion<int> done) { done(1); });
          }) == 5);
    CHECK(is_balanced(log));
}
#endif

TEST_CASE("functions and temporary closures with trivial captures are welcome everywhere") {
    CHECK(run_async_task(to_thread(function)) == 1);
    CHECK(run_async_task([]() -> task<int> {
              int n = 6;
              co_return co_await to_thread([&n] { return n; });
          }) == 6);
}
