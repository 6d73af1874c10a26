#pragma once

#include "call_state.hpp"
#include "cancellation.hpp"
#include "errors.hpp"
#include "frame_pool.hpp"
#include "trace.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

namespace sincpro::detail {

/// A task that was handed to a worker: the outermost job. Owned by its loop, from submission until it has ended.
class root_base : public job, public work, public recycled {
public:
    explicit root_base(counted_ptr<call_state> c) noexcept
        : job(nullptr), work(&root_base::start), call(std::move(c)) {}
    virtual ~root_base() = default;

    static bool is_root(const work& w) noexcept { return w.run == &root_base::start; }

    /// Any thread, while the registry is locked or nobody else knows of this: ends the call, though the task goes on.
    void give_up() noexcept {
        if (call->try_claim_outcome(claim::shutdown)) fail(exception_of<worker_stopped>());
    }

    /// In the child of a fork.
    void orphan() noexcept {
        if (call->published()) return;
        call->at.store(phase::orphaned, std::memory_order_relaxed);
#if !defined(_LIBCPP_VERSION)  // in whose promise another thread may hold a lock
        give_up();             // for who has made a mere std::future of it
#endif
    }

    bool stop_requested() const noexcept final;

    const counted_ptr<call_state> call;
    bool started = false;
    root_base *older = nullptr, *newer = nullptr;  // in the registry

private:
    static void start(work& w) noexcept;
    virtual std::coroutine_handle<> begin() noexcept = 0;
    virtual void end_cancelled() noexcept = 0;
    virtual void fail(std::exception_ptr) noexcept = 0;  // ends the call
};

/// The tasks that came through the door of a loop and have not ended, begun or not. Changed by the loop's thread under the
/// lock, so that thread reads without.
class task_registry {
public:
    std::unique_lock<std::mutex> locked() { return std::unique_lock(mutex_); }
    std::mutex& mutex() noexcept { return mutex_; }

    root_base* newest() const noexcept { return newest_; }

    /// While it is locked.
    void enter(root_base& r) noexcept {
        r.call->root = &r;
        r.older = newest_;
        if (newest_ != nullptr) newest_->newer = &r;
        newest_ = &r;
    }
    /// Nobody can reach a task any more, whose call has ended.
    void leave(root_base& r) noexcept {
        const auto lock = locked();
        r.call->root = nullptr;
        (r.newer != nullptr ? r.newer->older : newest_) = r.older;
        if (r.older != nullptr) r.older->newer = r.newer;
    }

    /// Where each of them is. On the loop's thread, or while that is held: then in `running_root`, last resumed `at`.
    std::string describe(const std::string& worker, const job* running_root, const await_location& at) {
        const auto lock = locked();
        const auto has_ended = [&](const root_base& r) {
            return &r != running_root && r.done;
        };  // and is about to leave
        std::size_t count = 0;
        root_base* oldest = nullptr;
        for (root_base* r = newest_; r != nullptr; r = r->older) {
            oldest = r;
            if (!has_ended(*r)) ++count;
        }
        std::string text =
            "worker \"" + worker + "\": " + std::to_string(count) + (count == 1 ? " task\n" : " tasks\n");
        std::size_t number = 0;
        for (root_base* r = oldest; r != nullptr; r = r->newer) {
            if (has_ended(*r)) continue;
            text += "  task " + std::to_string(++number) + ": ";
            if (r == running_root) {
                text += "running on the worker thread, ";
                text += at.line != 0 ? "last resumed at " + to_text({&at, 1}) : "not suspended since it was started";
                text += '\n';
            } else if (!r->started) {
                text += "not started\n";
            } else {
                append_tree(*r, text);
            }
        }
        return text;
    }

private:
    std::mutex mutex_;
    root_base* newest_ = nullptr;
};

}  // namespace sincpro::detail
