#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Something that an event loop does on its thread: `run` is called once for each time that it is posted. Its owner keeps it
/// alive, and in place, until then, so posting never allocates.
struct work : intrusive_list_node<work> {
    using function = void (*)(work&) noexcept;
    explicit constexpr work(function f) noexcept : run(f) {}

    function run;
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
