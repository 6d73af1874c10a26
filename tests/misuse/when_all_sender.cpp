// expect: only its own library can run this: begin it by that library's means, such as co_spawn, in await_callback
#include <sincpro/async_worker.hpp>

struct sender {
    using sender_concept = void;
    template <class Receiver>
    int connect(Receiver);
};

sincpro::task<> wrong() { co_await sincpro::when_all(sender()); }
