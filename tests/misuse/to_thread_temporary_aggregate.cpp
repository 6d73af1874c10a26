// expect: this compiler would destroy a temporary lambda or aggregate twice: name it and pass the name, or std::ref(name)
// only: g++ < 13
#include <sincpro/async_worker.hpp>

#include <string>

sincpro::task<> print(std::string);

struct request {
    std::string text;
};
void send(const request&);

sincpro::task<> wrong(std::string text) { co_await sincpro::to_thread(send, request{text}); }
