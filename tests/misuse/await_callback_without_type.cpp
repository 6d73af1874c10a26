// expect: await_callback<T>(initiate): initiate must be callable with a completion<T>
#include <sincpro/async_worker.hpp>

sincpro::task<int> wrong() {
    const int n = co_await sincpro::await_callback([](sincpro::completion<int> done) { done(1); });
    co_return n;
}
