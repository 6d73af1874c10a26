#include <sincpro/async_worker/survives_fork.hpp>

#include <atomic>
#include <string>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#if SINCPRO_DETAIL_POSIX

#include <sys/wait.h>
#include <unistd.h>

namespace {

/// Notes what it is told.
class told : sincpro::detail::survives_fork<told> {
public:
    told() = default;
    ~told() { leave_fork_list(); }
    void use() {
        set_handlers<void>();
        enter_fork_list();
    }
    std::string log;

private:
    friend sincpro::detail::survives_fork<told>;
    void before_fork() { log += "before "; }
    void in_parent() { log += "parent "; }
    void in_child() { log += "child "; }
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

TEST_CASE("what goes on in the child of a fork is no worker's thread") {
    if (!support::fork_is_testable) return;
    told used;
    used.use();
    const std::atomic<bool> cancelled{true};
    sincpro::detail::current().function_cancelled = &cancelled;
    CHECK(in_a_child([] { return sincpro::detail::current().function_cancelled == nullptr; }));
    CHECK(sincpro::detail::current().function_cancelled == &cancelled);
    sincpro::detail::current().function_cancelled = nullptr;
}

#else

TEST_CASE("there is no fork on this system") { CHECK(true); }

#endif
