// expect: only its own library can run this: begin it by that library's means, such as co_spawn, in await_callback
#include <sincpro/async_worker.hpp>

struct own_coroutine {  // like asio::awaitable: its awaiter takes only the handles of its own library
    struct promise_type {
        own_coroutine get_return_object();
        std::suspend_always initial_suspend() noexcept;
        std::suspend_always final_suspend() noexcept;
        void return_void();
        void unhandled_exception();
    };
    bool await_ready();
    void await_suspend(std::coroutine_handle<promise_type>);
    void await_resume();
};
own_coroutine theirs();

void wrong() { sincpro::run_async_task(theirs()); }
