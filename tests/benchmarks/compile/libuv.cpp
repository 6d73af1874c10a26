#include <uv.h>

#ifdef AND_CALL
int main() {
    uv_timer_t timer;
    uv_timer_init(uv_default_loop(), &timer);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
#else
int main() {}
#endif
