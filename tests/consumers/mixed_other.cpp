#include <sincpro/async_worker.hpp>

#include <system_error>

int run_in_the_other_half(int n);
bool other_half_is_refused_here();
int takes_a_task(sincpro::task<int> t);

namespace {

sincpro::task<int> give(int n) { co_return n; }

}  // namespace

int run_in_the_other_half(int n) { return sincpro::run_async_task(give(n)); }

bool other_half_is_refused_here() {
    try {
        sincpro::run_async_task(give(0));
        return false;
    } catch (const std::system_error& e) {
        return e.code() == std::errc::resource_deadlock_would_occur;
    }
}

int takes_a_task(sincpro::task<int> t) { return sincpro::run_async_task(std::move(t)); }
