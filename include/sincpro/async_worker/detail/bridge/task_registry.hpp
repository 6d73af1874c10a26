#pragma once

#include "../../errors.hpp"
#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "../coroutine/job.hpp"
#include "shared_state.hpp"

#include <mutex>
#include <string>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../coroutine/async_stack_trace.hpp"

#include <cstddef>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// The tasks that a loop has taken from its queue and that have not ended, begun or not. Changed by the loop's thread with
/// the mutex locked, so that thread reads without.
class task_registry {
public:
    std::mutex mutex;
    intrusive_list<shared_state> tasks;  // oldest first

    /// While it is locked.
    void add(shared_state& s) noexcept { tasks.push_back(s); }
    /// From here on cancel() and dump() do not find the task.
    void remove(shared_state& s) noexcept {
        const std::lock_guard lock(mutex);
        s.intrusive_list_node<shared_state>::unlink();
    }
    /// Loop thread.
    static bool contains(const shared_state& s) noexcept { return s.intrusive_list_node<shared_state>::is_linked(); }

    /// Where each task is. On the loop's thread, or while that stands still in `running_root`, which was last resumed `at`.
    std::string describe(const std::string& worker, const job* running_root, const await_location& at);
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_COLD std::string task_registry::describe(const std::string& worker, const job* running_root,
                                                        const await_location& at) {
    const std::lock_guard lock(mutex);
    const auto has_ended = [&](const shared_state& s) { return &s != running_root && s.done; };  // is about to leave
    std::size_t count = 0;
    for (const shared_state& s : tasks) count += has_ended(s) ? 0 : 1;
    std::string text = "worker \"" + worker + "\": ";
    text.append(std::to_string(count)).append(count == 1 ? " task\n" : " tasks\n");
    std::size_t number = 0;
    for (shared_state& s : tasks) {
        if (has_ended(s)) continue;
        text.append("  task ").append(std::to_string(++number)).append(": ");
        if (&s == running_root) {
            text += "running on the worker thread, ";
            text += at.line != 0 ? "last resumed at " + to_text({&at, 1}) : "not suspended since it was started";
            text += '\n';
        } else if (!s.started) {
            text += "not started\n";
        } else {
            append_tree(s, text);
        }
    }
    return text;
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
