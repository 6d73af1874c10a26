#include <sincpro/async_worker.hpp>

sincpro::task<int> answer() { co_return 42; }

#ifdef AND_CALL
int main() { return sincpro::run_async_task(answer()); }
#else
int main() {}
#endif
