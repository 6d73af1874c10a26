#pragma once

#include "event_loop.hpp"
#include "thread_setup.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace sincpro::detail {

/// A function that a helper thread runs.
class thread_function {
public:
    virtual ~thread_function() = default;
    virtual void call() noexcept = 0;
    std::shared_ptr<thread_function> next;
};

/// Threads for functions that block: one for each that runs, an idle one if there is any. They end after a second of
/// idleness, or when the loop ends.
class helper_threads final : public loop_service {
public:
    explicit helper_threads(executor& of) : state_(std::make_shared<state>(of)) {}

    /// Throws std::system_error if a thread is needed and the system has none.
    void run(std::shared_ptr<thread_function> f) {
        const std::lock_guard lock(state_->mutex);
        if (state_->idle > state_->queued) {
            std::shared_ptr<thread_function>& end = state_->last != nullptr ? state_->last->next : state_->first;
            state_->last = f.get();
            end = std::move(f);
            ++state_->queued;
            state_->arrived.notify_one();
            return;
        }
        const auto self = state_->threads.emplace(state_->threads.end());
        try {
            // Under the lock, so the thread finds its own std::thread there when it ends.
            *self = start_thread([s = state_, self, f = std::move(f)]() mutable { main(*s, self, std::move(f)); });
        } catch (...) {
            state_->threads.erase(self);
            throw;
        }
    }

    void stop(clock::time_point until) noexcept override {
        std::unique_lock lock(state_->mutex);
        state_->stopping = true;
        state_->arrived.notify_all();
        const auto none_left = [this] { return state_->threads.empty(); };
        wait_until_there(state_->ended_one, lock, until, none_left);
        state_->left = true;
        std::thread last = std::move(state_->ended);
        lock.unlock();
        if (last.joinable()) last.join();
    }

private:
    struct state {
        explicit state(executor& e) : of(e) { of.hold(); }
        ~state() { of.drop(); }
        executor& of;  // its address tells whose threads these are, so no other may have it meanwhile
        std::mutex mutex;
        std::condition_variable arrived, ended_one;
        std::shared_ptr<thread_function> first;
        thread_function* last = nullptr;
        std::size_t queued = 0, idle = 0;
        std::list<std::thread> threads;
        bool stopping = false, left = false;
        std::thread ended;  // the thread that ended last: the next one joins it
    };

    static void main(state& s, std::list<std::thread>::iterator self, std::shared_ptr<thread_function> f) noexcept {
        name_this_thread("async-helper");
        current().helps = &s.of;
        while (f != nullptr) {
            std::exchange(f, nullptr)->call();
            f = next(s);
        }
        std::unique_lock lock(s.mutex);
        std::thread before = s.left ? std::move(*self) : std::exchange(s.ended, std::move(*self));
        if (s.left) before.detach();
        s.threads.erase(self);
        s.ended_one.notify_all();
        lock.unlock();
        if (before.joinable()) before.join();
    }
    static std::shared_ptr<thread_function> next(state& s) noexcept {
        std::unique_lock lock(s.mutex);
        ++s.idle;
        s.arrived.wait_for(lock, std::chrono::seconds(1), [&] { return s.queued != 0 || s.stopping; });
        --s.idle;
        if (s.queued == 0) return nullptr;
        --s.queued;
        std::shared_ptr<thread_function> f = std::move(s.first);
        s.first = std::move(f->next);
        if (s.first == nullptr) s.last = nullptr;
        return f;
    }

    std::shared_ptr<state> state_;
};

}  // namespace sincpro::detail
