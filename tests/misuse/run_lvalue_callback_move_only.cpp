// expect: this cannot be copied: pass std::move(x)
// errors: 2
#include <sincpro/async_worker.hpp>

#include <memory>

void initiate(std::unique_ptr<int>, sincpro::completion<int> done) { done(1); }

int main() {
    struct begin {
        std::unique_ptr<int> owned;
        void operator()(sincpro::completion<int> done) { initiate(std::move(owned), std::move(done)); }
    };
    auto operation = sincpro::await_callback<int>(begin{});
    return sincpro::run_async_task(operation);
}
