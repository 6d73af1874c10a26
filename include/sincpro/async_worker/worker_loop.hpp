#pragma once

#include "call_state.hpp"
#include "errors.hpp"
#include "event_loop.hpp"
#include "task_registry.hpp"
#include "thread_setup.hpp"
#include "worker_options.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace sincpro::detail {

/// The event loop of a worker, its thread, and the registry of the tasks that it has to end. Counted by the worker, the
/// thread and the calls, so that nothing which a stuck thread still touches is freed.
class worker_loop final : public event_loop {
public:
    /// Throws std::system_error if there are no descriptors or threads left.
    static counted_ptr<worker_loop> start(const worker_options& options) {
        counted_ptr<worker_loop> loop(new worker_loop(options));
        loop->open_poller();
        try {
            loop->thread_ = start_thread([loop] { loop->main(); });
        } catch (...) {
            loop->release_poller();
            throw;
        }
        return loop;
    }

    void hold() noexcept override { references_.fetch_add(1, std::memory_order_relaxed); }
    void drop() noexcept override {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    /// Hands a task over. False, and it stays the caller's, if the loop has ended.
    bool submit(root_base& r) noexcept {
        r.loop = this;
        hold();
        r.call->loop = counted_ptr<executor>(this);
        if (current().loop == this) {
            const auto lock = tasks_.locked();
            tasks_.enter(r);
        }
        if (!post(r)) return false;
        // Pairs with the store in stop(): either that sees this task at the door, or this sees that nobody will come.
        if (left_.load(std::memory_order_seq_cst)) give_up_all();
        return true;
    }

    /// Cancels all tasks and waits until they have ended, until `until`; then leaves the thread to itself.
    void stop(clock::time_point until) noexcept {
        begin_stop(until);
        std::unique_lock lock(thread_mutex_);
        const auto has_ended = [this] { return ended_; };
        wait_until_there(thread_ended_, lock, until, has_ended);
        std::thread thread = std::move(thread_);
        const bool ended = ended_;
        lock.unlock();
        if (!ended) {
            left_.store(true, std::memory_order_seq_cst);
            give_up_all();
        }
        if (!thread.joinable()) return;                                     // somebody else stops it too
        const bool itself = thread.get_id() == std::this_thread::get_id();  // in the destructor of a thread-local
        ended && !itself ? thread.join() : thread.detach();
    }

    /// The same from its own thread: does not wait.
    void stop_later(clock::time_point until) noexcept {
        begin_stop(until);
        const std::lock_guard lock(thread_mutex_);
        if (thread_.joinable()) thread_.detach();
    }

    /// Whose calls end without their tasks.
    enum class whose : unsigned char { all, blocked_in_run };

    /// Ends calls. Any thread; the tasks go on.
    void give_up_all(whose calls = whose::all) noexcept {
        for_each_root([&](root_base& r) {
            if (calls == whose::blocked_in_run && !r.call->blocks_caller) return;
            if (may_return(*r.call)) r.give_up();
        });
    }

    /// The process ends, on another thread than the main one: what blocks that must not return any more, it would throw.
    void keep_main_thread_blocked() noexcept { main_thread_stays_.store(true, std::memory_order_release); }

    bool may_return(const call_state& c) const noexcept {
        return !c.blocks_main_thread || !main_thread_stays_.load(std::memory_order_acquire);
    }

    /// In the child of a fork, where the thread does not exist, nor those that are blocked in run().
    void forget_after_fork() noexcept {
        abandon_poller();
        for_each_root([](root_base& r) {
            if (!r.call->blocks_caller) r.orphan();
        });
    }
    void lock_for_fork() { tasks_.mutex().lock(); }
    void unlock_after_fork() { tasks_.mutex().unlock(); }

    void report_unobserved(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const operation_cancelled&) {
            // somebody wanted that
        } catch (...) {
            try {
                if (options.on_unobserved_exception) options.on_unobserved_exception(error);
            } catch (...) {  // NOLINT(bugprone-empty-catch): documented
            }
        }
    }

    /// What keeps the thread from answering, seen from the task of `own`; empty if nothing does.
    std::string describe_busy(const call_state& own) {
        std::string text;
        while_held([&](const job* running, const await_location& at) {
            const auto lock = tasks_.locked();
            const bool itself = own.root == running;
            text = itself ? "it runs without suspending" : "the worker thread is busy with another task";
            if (at.line != 0) text += (itself ? ", last resumed at " : ", which last resumed at ") + to_text({&at, 1});
        });
        return text;
    }

    /// Loop thread, at the end of a task.
    void forget(root_base& r) noexcept { tasks_.leave(r); }

    /// All tasks and where they are. Any thread.
    std::string dump();

    const worker_options options;

private:
    friend root_base;

    explicit worker_loop(const worker_options& o) : options(o) {}
    ~worker_loop() = default;

    void main() noexcept {
        name_this_thread(options.name);
        run([this] { return stopping_ && tasks_.newest() == nullptr && strays->waits_in == nullptr && close_door(); });
        if (service != nullptr) service->stop(stop_until_);
        service.reset();
        release_poller();
        const std::lock_guard lock(thread_mutex_);
        ended_ = true;
        thread_ended_.notify_all();
    }

    void begin_stop(clock::time_point until) noexcept {
        if (stop_requested_.exchange(true, std::memory_order_acq_rel)) return;
        stop_until_ = until;
        post(stop_request_);
    }
    struct stop_request : work {
        explicit stop_request(worker_loop& l) noexcept : work(&stop_request::arrive), of(l) {}
        static void arrive(work& w) noexcept {
            worker_loop& l = static_cast<stop_request&>(w).of;
            l.stopping_ = true;
            cancel_list all;
            for (root_base* r = l.tasks_.newest(); r != nullptr; r = r->older) all.add(*r);
            all.add(*l.strays);
            all.run();
        }
        worker_loop& of;
    };

    std::string describe(const job* running_root, const await_location& at) {
        return tasks_.describe(options.name, running_root, at);
    }
    std::size_t count_at_door() noexcept {
        const auto lock = tasks_.locked();
        std::size_t count = 0;
        behind_door([&](root_base&) { ++count; });
        return count;
    }

    template <class Visit>
    void for_each_root(Visit visit) noexcept {
        const auto lock = tasks_.locked();
        behind_door(visit);
        for (root_base* r = tasks_.newest(); r != nullptr; r = r->older) visit(*r);
    }
    /// Calls `visit` with each task at the door; its own thread goes on to destroy it. While the registry is locked: the
    /// loop must not end before what was taken is back.
    template <class Visit>
    void behind_door(Visit visit) noexcept {
        for (work* w = door().steal(); w != nullptr;) {
            work& next = *std::exchange(w, w->next);
            if (root_base::is_root(next)) visit(static_cast<root_base&>(next));
            if (current().loop == this) {
                door().push(next);  // post() would pass the registry by
            } else {
                post(next);
            }
        }
    }
    bool close_door() noexcept {
        const auto lock = tasks_.locked();
        return door().close();
    }

    void take_in(inbox& from) noexcept override {
        const auto lock = tasks_.locked();
        work* first = from.take();
        while (first != nullptr) {
            work& w = *std::exchange(first, first->next);
            if (root_base::is_root(w)) tasks_.enter(static_cast<root_base&>(w));
            queue(w);
        }
    }

    std::atomic<unsigned> references_{1};
    std::atomic<bool> stop_requested_{false};
    std::atomic<bool> left_{false};  // by stop(), which nobody will do for what comes later
    std::atomic<bool> main_thread_stays_{false};
    clock::time_point stop_until_{};
    stop_request stop_request_{*this};
    bool stopping_ = false;  // loop thread

    task_registry tasks_;

    std::mutex thread_mutex_;
    std::condition_variable thread_ended_;
    std::thread thread_;
    bool ended_ = false;
};

inline void root_base::start(work& w) noexcept {
    auto& self = static_cast<root_base&>(w);
    auto& loop = static_cast<worker_loop&>(*self.loop);
    self.started = true;
    if (self.stop_requested()) {
        self.end_cancelled();
    } else {
        loop.resume(self, self.begin(), {});
    }
}

inline bool root_base::stop_requested() const noexcept {
    return call->cancel_requested.load(std::memory_order_acquire) ||
           static_cast<worker_loop&>(*loop).stop_requested_.load(std::memory_order_acquire);
}

inline std::string worker_loop::dump() {
    if (current().loop == this) {
        const job* const running = current().running;
        return describe(running != nullptr ? running->root : nullptr, {});
    }
    struct request : work {
        explicit request(worker_loop& l) : work(&request::answer), of(l) {}
        static void answer(work& w) noexcept {
            const std::unique_ptr<request> self(static_cast<request*>(&w));
            try {
                self->text.set_value(self->of.describe(nullptr, {}));
            } catch (...) {
                self->text.set_exception(std::current_exception());
            }
        }
        worker_loop& of;
        std::promise<std::string> text;
    };
    auto r = std::make_unique<request>(*this);
    std::future<std::string> answer = r->text.get_future();
    if (!post(*r)) return {};
    r.release();
    std::string text;
    for (int patience = 100; answer.wait_for(std::chrono::milliseconds(patience)) != std::future_status::ready;
         patience = 10) {
        if (while_held([&](const job* running, const await_location& at) { text = describe(running, at); })) {
            if (const std::size_t n = count_at_door()) text += "  and " + std::to_string(n) + " not started\n";
            return text + "  (the worker thread does not answer: the running task blocks it)\n";
        }
    }
    return answer.get();
}

}  // namespace sincpro::detail
