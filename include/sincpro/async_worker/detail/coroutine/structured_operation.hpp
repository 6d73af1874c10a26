#pragma once

#include "../../errors.hpp"
#include "../../result.hpp"
#include "../base/config.hpp"
#include "../base/function.hpp"
#include "../loop/work.hpp"
#include "job.hpp"
#include "operation.hpp"
#include "task_job.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#if SINCPRO_DETAIL_DEFINITIONS
#include "../loop/event_loop.hpp"
#include "job_runner.hpp"
#endif

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

class structured_operation;

/// A job that a structured operation waits for.
class child_job : public task_job {
public:
    virtual std::exception_ptr error() const noexcept = 0;  // null if it has ended with a value

protected:
    explicit child_job(owned_frame f) noexcept : task_job(nullptr, f) {}
    child_job(child_job&& other) noexcept : task_job(std::move(other)) {}
    ~child_job();

    void report() noexcept;

private:
    friend structured_operation;
    virtual void skip() noexcept = 0;  // instead of begin()

    struct deferred_start : work {
        explicit deferred_start(child_job& c) noexcept : work(&deferred_start::run_child), child(c) {}
        static void run_child(work& w) noexcept;
        child_job& child;
    };

    structured_operation* parent_ = nullptr;
    deferred_start start_{*this};
};

template <class T>
class child final : public child_job {
public:
    explicit child(task<T> t) : child_job(task_access::take_frame(t)) {}
    child(child&& other) noexcept : child_job(std::move(other)) {}  // not begun

    std::exception_ptr error() const noexcept override { return outcome.error(); }

    result<T> outcome;

private:
    void skip() noexcept override {
        destroy_frame();
        result_access::set_exception(outcome, exception_of<operation_cancelled>());
        done = true;
    }
    void ended() noexcept override {
        take_outcome(outcome);
        report();
    }
};

/// An operation that runs children as jobs of their own and waits until each has ended, whatever happens: no child outlives
/// it. (Structured concurrency)
class structured_operation : public operation {
public:
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> h) {
        return !begin(h) || wait_for_children();
    }
    void cancel(cancel_list& more) noexcept override { cancel_children(more); }

protected:
    friend child_job;

    /// What await_suspend() returns: false if all children have ended within this call.
    bool wait_for_children() noexcept { return run_children() || ready_at_once(); }

    /// Starts the children one after the other; child_ended() is called for each that ends. False if all have ended.
    bool run_children() noexcept;

    /// Cancels the children that have not ended, and does not start those that have not begun.
    void stop_children() noexcept;

    child_job* child(std::size_t) noexcept override = 0;
    virtual void child_ended(child_job&) noexcept {}
    virtual void all_ended() noexcept { complete(); }

private:
    void cancel_children(cancel_list& list) noexcept;
    void report(child_job& c) noexcept {
        child_ended(c);
        if (--running_ == 0) all_ended();
    }

    std::size_t running_ = 0;  // children, and one while they are being started
    bool stopping_ = false;
};

/// Children of different kinds, by number.
template <class... T>
class child_tuple {
public:
    explicit child_tuple(task<T>... tasks) : children_(std::move(tasks)...) {}

    child_job* operator[](std::size_t i) noexcept {
        return std::apply(
            [i](child<T>&... c) {
                child_job* const all[] = {&c..., nullptr};
                return all[i < sizeof...(T) ? i : sizeof...(T)];
            },
            children_);
    }
    std::tuple<child<T>...>& all() noexcept { return children_; }

private:
    std::tuple<child<T>...> children_;
};

/// How a T stands in a tuple.
template <class T>
using tuple_element_t = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// How a T stands in a variant or a vector, which cannot hold references.
template <class T>
using element_t =
    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>, tuple_element_t<T>>;

template <class T>
tuple_element_t<T> take_element(result<T>& r) {
    if constexpr (std::is_void_v<T>) {
        std::move(r).value();
        return {};
    } else {
        return std::move(r).value();
    }
}

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE child_job::~child_job() {
    if (start_.is_linked()) start_.unlink();
}

SINCPRO_DETAIL_INLINE void child_job::report() noexcept { parent_->report(*this); }

SINCPRO_DETAIL_INLINE void child_job::deferred_start::run_child(work& w) noexcept {
    child_job& c = static_cast<deferred_start&>(w).child;
    if (c.cancelled) {
        c.skip();
        c.report();
    } else {
        c.runner->resume(c, c.begin(0), {});
    }
}

SINCPRO_DETAIL_INLINE bool structured_operation::run_children() noexcept {
    running_ = 1;
    stopping_ = false;  // true if it was awaited before: then each child says that
    const unsigned depth = awaited_by() != nullptr ? awaited_by()->depth + 1 : 1;
    for (std::size_t i = 0; child_job* const c = child(i); ++i) {
        if (stopping_) {
            c->skip();
            continue;
        }
        c->parent_ = this;
        c->runner = job_->runner;
        c->root = job_->root;
        c->shielded |= job_->shielded;
        ++running_;
        if (depth % 32 == 0) {
            loop_->post(c->start_);  // operations nested to any depth must not nest on the stack
        } else {
            c->run(c->begin(depth));
        }
    }
    return --running_ != 0;
}

SINCPRO_DETAIL_INLINE void structured_operation::stop_children() noexcept {
    if (std::exchange(stopping_, true)) return;
    cancel_list list;
    cancel_children(list);
    list.run();
}

SINCPRO_DETAIL_INLINE void structured_operation::cancel_children(cancel_list& list) noexcept {
    for (std::size_t i = 0; child_job* const c = child(i); ++i) {
        if (c->parent_ != nullptr && !c->done) list.add(*c);
    }
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
