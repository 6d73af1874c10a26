#pragma once

#include "../base/config.hpp"
#include "../base/intrusive_list.hpp"
#include "../base/intrusive_ptr.hpp"

#if SINCPRO_DETAIL_DEFINITIONS
#include "../base/duration.hpp"
#include "../base/thread.hpp"
#include "../loop/event_loop.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <utility>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// A function that a thread of the pool runs.
class blocking_function : public ref_counted<blocking_function>, public intrusive_list_node<blocking_function> {
public:
    virtual ~blocking_function() = default;
    virtual void call() = 0;  // may end the thread
};

#if SINCPRO_DETAIL_DEFINITIONS

/// Threads for functions that block: one for each that runs, an idle one if there is any. They end after a second of
/// idleness, or when the loop ends. Owned by the worker and by its threads, which may outlive the loop.
class blocking_pool : public ref_counted<blocking_pool> {
public:
    explicit blocking_pool(event_loop& l) : loop_(share(l)) {}

    /// Loop thread. Throws std::system_error if a thread is needed and the system has none.
    void run(intrusive_ptr<blocking_function> f);
    /// Waits until all functions have returned, until `until`; then leaves their threads to themselves.
    void stop(clock::time_point until) noexcept;

    /// The loop for which this thread runs functions, or null.
    static const event_loop*& loop_of_this_thread() noexcept;

private:
    friend ref_counted<blocking_pool>;
    ~blocking_pool() = default;

    struct pool_thread : intrusive_list_node<pool_thread> {
        pool_thread(blocking_pool& p, intrusive_ptr<blocking_function> f) noexcept
            : pool(share(p)), first(std::move(f)) {}
        std::thread thread;
        intrusive_ptr<blocking_pool> pool;
        intrusive_ptr<blocking_function> first;
    };
    static void main(void* argument);
    intrusive_ptr<blocking_function> wait_for_next() noexcept;
    void end(pool_thread* self) noexcept;

    const intrusive_ptr<event_loop> loop_;  // its address tells whose threads these are: no other may have it meanwhile
    std::mutex mutex_;
    std::condition_variable arrived_, thread_ended_;
    intrusive_list<blocking_function> queue_;  // owns a reference to each
    std::size_t queued_ = 0, idle_ = 0;
    intrusive_list<pool_thread> threads_;
    bool stopping_ = false, left_ = false;
    std::thread ended_;  // the thread that ended last: the next one joins it
};

SINCPRO_DETAIL_NOINLINE SINCPRO_DETAIL_SHARED SINCPRO_DETAIL_INLINE const event_loop*&
blocking_pool::loop_of_this_thread() noexcept {
    static constinit thread_local const event_loop* loop = nullptr;
    return loop;
}

SINCPRO_DETAIL_INLINE void blocking_pool::run(intrusive_ptr<blocking_function> f) {
    const std::lock_guard lock(mutex_);
    if (idle_ > queued_) {
        queue_.push_back(*f.detach());
        ++queued_;
        arrived_.notify_one();
        return;
    }
    auto* const t = new pool_thread(*this, std::move(f));
    try {
        t->thread = start_thread(&blocking_pool::main, t);  // under the lock, so it finds this when it ends
    } catch (...) {
        delete t;
        throw;
    }
    threads_.push_back(*t);
}

SINCPRO_DETAIL_COLD void blocking_pool::stop(clock::time_point until) noexcept {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    arrived_.notify_all();
    wait_until(thread_ended_, lock, until, [this] { return threads_.empty(); });
    left_ = true;
    std::thread last = std::move(ended_);
    lock.unlock();
    if (last.joinable()) last.join();
}

SINCPRO_DETAIL_INLINE void blocking_pool::main(void* argument) {
    auto* const self = static_cast<pool_thread*>(argument);
    struct ended_in_any_way {
        ~ended_in_any_way() { pool->end(self); }
        const intrusive_ptr<blocking_pool> pool;
        pool_thread* const self;
    } const scope{self->pool, self};
    name_this_thread("async-helper");
    loop_of_this_thread() = scope.pool->loop_.get();
    for (intrusive_ptr<blocking_function> f = std::move(self->first); f; f = scope.pool->wait_for_next()) {
        std::exchange(f, {})->call();
    }
}

SINCPRO_DETAIL_INLINE intrusive_ptr<blocking_function> blocking_pool::wait_for_next() noexcept {
    std::unique_lock lock(mutex_);
    ++idle_;
    const auto a_second_later = clock::now() + std::chrono::seconds(1);
    wait_until(arrived_, lock, a_second_later, [this] { return queued_ != 0 || stopping_; });
    --idle_;
    if (queued_ == 0) return {};
    --queued_;
    return intrusive_ptr<blocking_function>(&queue_.pop_front());
}

SINCPRO_DETAIL_COLD void blocking_pool::end(pool_thread* self) noexcept {
    std::unique_lock lock(mutex_);
    std::thread before = left_ ? std::move(self->thread) : std::exchange(ended_, std::move(self->thread));
    if (left_) before.detach();
    self->unlink();
    delete self;
    thread_ended_.notify_all();
    lock.unlock();
    if (before.joinable()) before.join();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
