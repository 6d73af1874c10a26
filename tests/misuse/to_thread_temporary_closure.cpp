// expect: name the lambda first or pass its values as arguments: this compiler would destroy it twice
// only: g++ < 13
#include <sincpro/async_worker.hpp>

#include <string>

sincpro::task<> wrong(std::string text) {
    co_await sincpro::to_thread([text] { return text.size(); });
}
