#include "bridge.hpp"

#include <sincpro/async_worker.hpp>

namespace {

template <class F>
sincpro::task<int> run_it(F f) {
    co_return f();
}

struct ours {
    void start() { sincpro::default_worker().start(); }

    template <class F>
    int call(F f) {
        return sincpro::run_async_task(run_it(f));
    }

    template <class F>
    auto submit(F f) {
        return sincpro::submit_async_task(run_it(f));
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::bridge_main<ours>(argc, argv); }
