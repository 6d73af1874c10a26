#pragma once

#include <sincpro/async_worker/detail/base/intrusive_list.hpp>
#include <sincpro/async_worker/detail/coroutine/job_runner.hpp>
#include <sincpro/async_worker/detail/coroutine/task_job.hpp>
#include <sincpro/async_worker/detail/loop/event_loop.hpp>
#include <sincpro/async_worker/detail/loop/work.hpp>
#include <sincpro/async_worker/result.hpp>
#include <sincpro/async_worker/task.hpp>

#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>

#include "events.hpp"

namespace support {

/// What a task runs on in a test without threads: an event loop that keeps what is posted, from any thread, until it is told
/// to run it.
class hand_loop final : public sincpro::detail::event_loop {
public:
    hand_loop() { open(); }
    ~hand_loop() override {
        if (!ended_) {
            close();
        }
    }

    /// From now on nothing can be posted.
    void end() {
        close();
        ended_ = true;
    }
    [[nodiscard]] std::size_t posted() {
        take_posted(static_cast<std::size_t>(-1));
        std::size_t count = 0;
        for ([[maybe_unused]] const sincpro::detail::work& w : waiting_) {
            ++count;
        }
        return count;
    }
    [[nodiscard]] bool wait_until_posted() {
        const auto until = std::chrono::steady_clock::now() + patience;
        while (posted() == 0 && std::chrono::steady_clock::now() < until) {
            std::this_thread::yield();
        }
        return posted() != 0;
    }

    /// Runs what is there now, not what that posts in turn.
    void run_once() {
        take_posted(static_cast<std::size_t>(-1));
        sincpro::detail::intrusive_list<sincpro::detail::work> now;
        while (!waiting_.empty()) now.push_back(waiting_.pop_front());
        while (!now.empty()) {
            sincpro::detail::work& w = now.pop_front();
            w.run(w);
        }
    }
    void run() {
        while (posted() != 0) {
            run_once();
        }
    }

    sincpro::detail::job_runner runner{*this};

private:
    bool has_ended() noexcept override { return true; }
    void take_posted(std::size_t limit) noexcept override {
        event_loop::posted().take(limit, [this](sincpro::detail::work& w) { waiting_.push_back(w); });
    }

    sincpro::detail::intrusive_list<sincpro::detail::work> waiting_;
    bool ended_ = false;
};

/// A job on a hand_loop.
template <class T = void>
class hand_job final : public sincpro::detail::task_job {
public:
    hand_job(hand_loop& on, sincpro::task<T> t) : task_job(&on.runner, sincpro::detail::task_access::take_frame(t)) {}

    /// Runs it up to where it is suspended.
    void start() { run(begin()); }
    [[nodiscard]] bool has_ended() const { return ended_; }
    T value() { return std::move(outcome).value(); }

    sincpro::result<T> outcome;

private:
    void ended() noexcept override {
        take_outcome(outcome);
        ended_ = true;
    }

    bool ended_ = false;
};

}  // namespace support
