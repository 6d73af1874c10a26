// The header-only half of a program; mixed_other.cpp uses the compiled library.
#include <sincpro/async_worker.hpp>

#include <cstdio>
#include <system_error>

int run_in_the_other_half(int n);
bool other_half_is_refused_here();
#if defined(PASS_A_TASK)
int takes_a_task(sincpro::task<int> t);
#endif

namespace {

sincpro::task<int> give(int n) { co_return n; }
sincpro::task<bool> ask_the_other_half() { co_return other_half_is_refused_here(); }

}  // namespace

int main() {
    bool right = sincpro::run_async_task(give(1)) == 1 && run_in_the_other_half(2) == 2;
    // A worker's thread is one for both halves: neither blocks it by waiting for its own worker.
    right = right && sincpro::run_async_task(ask_the_other_half());
#if defined(PASS_A_TASK)
    right = right && takes_a_task(give(3)) == 3;
#endif
    std::puts(right ? "both halves work" : "wrong");
    return right ? 0 : 1;
}
