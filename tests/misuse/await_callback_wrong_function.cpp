// expect: await_callback<T>(initiate): initiate must be callable with a completion<T>
#include <sincpro/async_worker.hpp>

sincpro::task<> wrong() {
    co_await sincpro::await_callback<int>([](int) {});
}
