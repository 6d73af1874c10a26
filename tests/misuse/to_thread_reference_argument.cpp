// expect: f cannot be called with these arguments, which are copied: std::ref for a T&
#include <sincpro/async_worker.hpp>

void fill(int& n) { n = 1; }

sincpro::task<int> wrong() {
    int n = 0;
    co_await sincpro::to_thread(sincpro::abandon_on_cancel, fill, n);
    co_return n;
}
