#pragma once

#include "config.hpp"
#include "intrusive_list.hpp"

#include <atomic>
#include <mutex>

#if SINCPRO_DETAIL_DEFINITIONS && !defined(_WIN32)
#include <pthread.h>

#include <system_error>
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Base of what a fork() must find in order: around each fork before_fork(), after_fork_in_parent() and after_fork_in_child()
/// are called for every one that is registered. In the child the list is empty again: some may have stood on the stacks of
/// threads that do not exist there.
class atfork_handler : public intrusive_list_node<atfork_handler> {
public:
    atfork_handler(const atfork_handler&) = delete;
    atfork_handler& operator=(const atfork_handler&) = delete;

protected:
    atfork_handler() = default;
    ~atfork_handler() = default;

    /// Before each use of what before_fork() locks. Cheap when it is registered already.
    void register_for_fork();
    void unregister_for_fork() noexcept;

private:
    friend class atfork_registry;
    virtual void before_fork() = 0;
    virtual void after_fork_in_parent() = 0;
    virtual void after_fork_in_child() noexcept = 0;

    std::atomic<bool> registered_{false};
};

/// All handlers, and the locks that a fork takes. Lock order: creation, this registry, what the handlers lock.
class atfork_registry {
public:
    /// Guards the making of an object that all threads share. A fork takes it first, so that the child never finds such an
    /// object half made.
    static std::mutex& creation() noexcept;

    /// `f` is called in the child of every later fork, before the handlers: what a thread keeps in thread-locals is of no
    /// worker there.
    static void call_in_child(void (*f)() noexcept) noexcept;

    static bool set_handlers();

private:
    friend atfork_handler;
    struct state {
        std::mutex creation, mutex;
        std::atomic<void (*)() noexcept> call_in_child{nullptr};
        intrusive_list<atfork_handler> handlers;
    };
    static state& shared() noexcept;
    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_child();
};

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE atfork_registry::state& atfork_registry::shared() noexcept {
    static state* const never_destroyed = new state;
    return *never_destroyed;
}

SINCPRO_DETAIL_INLINE std::mutex& atfork_registry::creation() noexcept { return shared().creation; }

SINCPRO_DETAIL_INLINE void atfork_registry::call_in_child(void (*f)() noexcept) noexcept {
    shared().call_in_child.store(f, std::memory_order_relaxed);
}

// Set while the program is loaded, when there is one thread: a fork in another thread never finds them half set.
SINCPRO_DETAIL_INLINE const bool atfork_handlers_are_set = atfork_registry::set_handlers();

SINCPRO_DETAIL_COLD bool atfork_registry::set_handlers() {
    shared();
#if !defined(_WIN32)
    if (const int error = ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child)) {
        throw std::system_error(error, std::generic_category(), "sincpro: pthread_atfork");
    }
#endif
    return true;
}

SINCPRO_DETAIL_COLD void atfork_registry::before_fork() {
    shared().creation.lock();
    shared().mutex.lock();
    for (atfork_handler& h : shared().handlers) h.before_fork();
}
SINCPRO_DETAIL_COLD void atfork_registry::after_fork_in_parent() {
    for (atfork_handler& h : shared().handlers) h.after_fork_in_parent();
    shared().mutex.unlock();
    shared().creation.unlock();
}
SINCPRO_DETAIL_COLD void atfork_registry::after_fork_in_child() {
    if (const auto f = shared().call_in_child.load(std::memory_order_relaxed)) f();
    while (!shared().handlers.empty()) {
        atfork_handler& h = shared().handlers.pop_front();
        h.registered_.store(false, std::memory_order_relaxed);
        h.after_fork_in_child();
    }
    shared().mutex.unlock();
    shared().creation.unlock();
}

SINCPRO_DETAIL_INLINE void atfork_handler::register_for_fork() {
    if (registered_.load(std::memory_order_relaxed)) return;
    const std::lock_guard lock(atfork_registry::shared().mutex);
    if (registered_.exchange(true, std::memory_order_relaxed)) return;
    atfork_registry::shared().handlers.push_front(*this);
}

SINCPRO_DETAIL_COLD void atfork_handler::unregister_for_fork() noexcept {
    const std::lock_guard lock(atfork_registry::shared().mutex);
    if (registered_.load(std::memory_order_relaxed)) unlink();
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
