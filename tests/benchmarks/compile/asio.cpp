#include <asio.hpp>

asio::awaitable<int> answer() { co_return 42; }

#ifdef AND_CALL
int main() {
    asio::io_context context;
    auto result = asio::co_spawn(context, answer(), asio::use_future);
    context.run();
    return result.get();
}
#else
int main() {}
#endif
