#pragma once

#include <sincpro/async_worker/outermost.hpp>
#include <sincpro/async_worker/result.hpp>
#include <sincpro/async_worker/task.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <mutex>
#include <utility>

#include "events.hpp"

namespace support {

/// What a task runs on in a test without threads: keeps what is posted, from any thread, until it is told to run it.
class hand_executor final : public sincpro::detail::executor {
public:
    bool post(sincpro::detail::work& w) noexcept override {
        const std::lock_guard lock(mutex_);
        if (ended_) {
            return false;
        }
        posted_.push_back(&w);
        changed_.notify_all();
        return true;
    }
    void resume(sincpro::detail::job& j, std::coroutine_handle<> h,
                const sincpro::await_location& at) noexcept override {
        last_resumed_at = at;
        j.run(h);
    }
    void hold() noexcept override { references.fetch_add(1); }
    void drop() noexcept override { references.fetch_sub(1); }

    /// From now on nothing can be posted.
    void end() {
        const std::lock_guard lock(mutex_);
        ended_ = true;
    }
    [[nodiscard]] std::size_t posted() const {
        const std::lock_guard lock(mutex_);
        return posted_.size();
    }
    [[nodiscard]] bool wait_until_posted() const {
        std::unique_lock lock(mutex_);
        return changed_.wait_until(lock, std::chrono::system_clock::now() + patience, [&] { return !posted_.empty(); });
    }

    /// Runs what is there now, not what that posts in turn.
    void run_once() {
        std::deque<sincpro::detail::work*> now;
        {
            const std::lock_guard lock(mutex_);
            now.swap(posted_);
        }
        for (sincpro::detail::work* w : now) {
            w->run(*w);
        }
    }
    void run() {
        while (posted() != 0) {
            run_once();
        }
    }

    std::atomic<int> references{0};
    sincpro::await_location last_resumed_at{};

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::deque<sincpro::detail::work*> posted_;
    bool ended_ = false;
};

/// A task as the outermost one of a job on a hand_executor.
template <class T = void>
class hand_job final : public sincpro::detail::job {
public:
    hand_job(hand_executor& on, sincpro::task<T> t) : job(&on), task_(std::move(t)) {}

    /// Runs it up to where it is suspended.
    void start() { run(task_.begin(*this)); }
    [[nodiscard]] bool has_ended() const { return ended_; }
    T value() { return std::move(outcome).value(); }

    sincpro::result<T> outcome;

private:
    void finished() noexcept override {
        task_.finish(outcome);
        ended_ = true;
    }

    sincpro::detail::outermost<T> task_;
    bool ended_ = false;
};

}  // namespace support
