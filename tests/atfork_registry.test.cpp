#include <sincpro/async_worker/detail/base/atfork_registry.hpp>

#include <string>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#if !defined(_WIN32)

#include <sys/wait.h>
#include <unistd.h>

namespace {

/// Notes what it is told.
class told final : sincpro::detail::atfork_handler {
public:
    told() = default;
    ~told() { unregister_for_fork(); }
    void use() { register_for_fork(); }
    std::string log;

private:
    void before_fork() override { log += "before "; }
    void after_fork_in_parent() override { log += "parent "; }
    void after_fork_in_child() noexcept override { log += "child "; }
};

/// Whether `holds()` is true in a child of this process.
template <class Condition>
bool in_a_child(Condition holds) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(holds() ? 0 : 1);
    int status = -1;
    return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("what has been used is told before each fork, then in the parent or in the child") {
    if (!support::fork_is_testable) return;
    told used, unused;
    {
        told gone;
        gone.use();
    }
    used.use();
    used.use();
    CHECK(in_a_child([&] { return used.log == "before child " && unused.log.empty(); }));
    CHECK(used.log == "before parent ");
    CHECK(in_a_child([&] { return used.log == "before parent before child "; }));
    CHECK(used.log == "before parent before parent ");
    CHECK(unused.log.empty());
}

TEST_CASE("in the child nothing counts as used that was used before the fork") {
    if (!support::fork_is_testable) return;
    told forgotten, again;
    forgotten.use();
    again.use();
    CHECK(in_a_child([&] {
        again.use();
        const bool as_told = in_a_child([&] { return again.log == "before child before child "; });
        return as_told && again.log == "before child before parent " && forgotten.log == "before child ";
    }));
}

TEST_CASE("a function for the child is called there before the handlers, and nowhere else") {
    if (!support::fork_is_testable) return;
    static int calls = 0;
    struct sees_the_call final : sincpro::detail::atfork_handler {
        ~sees_the_call() { unregister_for_fork(); }
        void use() { register_for_fork(); }
        void before_fork() override {}
        void after_fork_in_parent() override {}
        void after_fork_in_child() noexcept override { called_before = calls == 1; }
        bool called_before = false;
    } handler;
    handler.use();
    sincpro::detail::atfork_registry::call_in_child([]() noexcept { ++calls; });
    CHECK(in_a_child([&] { return handler.called_before && calls == 1; }));
    CHECK(calls == 0);
    sincpro::detail::atfork_registry::call_in_child(nullptr);
}

#else

TEST_CASE("there is no fork on this system") { CHECK(true); }

#endif
