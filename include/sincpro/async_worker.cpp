// The compiled library: compile this file once, and everything that uses the library with SINCPRO_ASYNC_WORKER_COMPILED
// defined.

#if !defined(SINCPRO_ASYNC_WORKER_COMPILED)
#define SINCPRO_ASYNC_WORKER_COMPILED
#endif
#define SINCPRO_DETAIL_DEFINITIONS 1

#include "async_worker.hpp"
