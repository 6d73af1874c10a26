#pragma once

#include "as_task.hpp"
#include "event_loop.hpp"
#include "outermost.hpp"
#include "result.hpp"

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace sincpro::detail {

class structured_operation;

/// A job that a structured operation waits for.
class child_job : public job {
public:
    child_job() noexcept : job(nullptr), start_{*this} {}

    virtual std::coroutine_handle<> begin(unsigned depth) noexcept = 0;
    virtual void skip() noexcept = 0;                       // instead of begin()
    virtual std::exception_ptr error() const noexcept = 0;  // null if it has ended with a value

protected:
    ~child_job() {
        if (start_.queued()) start_.leave_queue();
    }
    void report() noexcept;

private:
    friend structured_operation;
    struct start : work {
        explicit start(child_job& c) noexcept : work(&start::run_child), of(c) {}
        static void run_child(work& w) noexcept {
            child_job& c = static_cast<start&>(w).of;
            if (c.cancelled) {
                c.skip();
                c.report();
            } else {
                c.loop->resume(c, c.begin(0), {});
            }
        }
        child_job& of;
    };

    structured_operation* parent_ = nullptr;
    start start_;
};

template <class T>
class child final : public child_job {
public:
    explicit child(task<T> t) : task_(std::move(t)) {}
    child(child&& other) noexcept : task_(std::move(other.task_)) {}  // not begun

    std::coroutine_handle<> begin(unsigned depth) noexcept override { return task_.begin(*this, depth); }
    void skip() noexcept override {
        task_.destroy();
        outcome.fail(exception_of<operation_cancelled>());
        done = true;
    }
    std::exception_ptr error() const noexcept override { return outcome.error(); }

    result<T> outcome;

private:
    void finished() noexcept override {
        task_.finish(outcome);
        report();
    }
    outermost<T> task_;
};

/// An operation that runs children as jobs of their own and waits until each has finished, whatever happens: no child
/// outlives it. (Structured concurrency)
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

    /// False, and no longer begun, if all children have ended within this call.
    bool wait_for_children() noexcept {
        if (run_children()) return true;
        unlink();
        return false;
    }

    /// Starts the children one after the other; goes through child_finished() for each that ends. False if all have ended.
    bool run_children() noexcept {
        running_ = 1;
        stopping_ = false;  // true if it was awaited before: then each child says that
        const unsigned depth = awaited_by() != nullptr ? awaited_by()->depth + 1 : 1;
        for (std::size_t i = 0; child_job* const c = child(i); ++i) {
            if (stopping_) {
                c->skip();
                continue;
            }
            c->parent_ = this;
            c->loop = job_->loop;
            c->root = job_->root;
            c->shielded |= job_->shielded;
            ++running_;
            if (depth % 32 == 0) {
                job_->loop->post(c->start_);  // operations nested to any depth must not nest on the stack
            } else {
                c->run(c->begin(depth));
            }
        }
        return --running_ != 0;
    }

    /// Cancels the children that have not finished, and does not start those that have not begun.
    void stop_children() noexcept {
        if (std::exchange(stopping_, true)) return;
        cancel_list list;
        cancel_children(list);
        list.run();
    }

    child_job* child(std::size_t) noexcept override = 0;
    virtual void child_finished(child_job&) noexcept {}
    virtual void all_finished() noexcept { complete(); }

private:
    void cancel_children(cancel_list& list) noexcept {
        for (std::size_t i = 0; child_job* const c = child(i); ++i) {
            if (c->parent_ != nullptr && !c->done) list.add(*c);
        }
    }
    void finished(child_job& c) noexcept {
        child_finished(c);
        if (--running_ == 0) all_finished();
    }

    std::size_t running_ = 0;  // children, and one while they are being started
    bool stopping_ = false;
};

inline void child_job::report() noexcept { parent_->finished(*this); }

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

}  // namespace sincpro::detail
