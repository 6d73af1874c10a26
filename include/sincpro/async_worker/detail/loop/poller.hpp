#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_ptr.hpp"
#include "condition_poller.hpp"
#include "descriptor.hpp"
#include "epoll_poller.hpp"
#include "poll_poller.hpp"

#if SINCPRO_DETAIL_DEFINITIONS

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

#if defined(SINCPRO_DETAIL_POLLER_EPOLL)
using system_poller = epoll_poller;
#elif defined(SINCPRO_DETAIL_POLLER_POLL)
using system_poller = poll_poller;
#else
using system_poller = condition_poller;
#endif

/// What the event loop of this system sleeps in.
class poller : public system_poller, public ref_counted<poller> {};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail

#endif
