#pragma once

#include "duration.hpp"

#include <exception>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sincpro {

/// A `co_await` in the source of a task. The strings are the compiler's own and live for ever.
struct await_location {
    const char* file;      ///< As the compiler was given it.
    const char* function;  ///< Its name without parameters.
    unsigned line;         ///< Counted from 1.
};

/// Thrown by the operation that a cancelled task waits in, and by each later one. (asyncio.CancelledError)
class operation_cancelled : public std::system_error {
public:
    /// Its code is std::errc::operation_canceled.
    operation_cancelled() : operation_cancelled("the task was cancelled") {}
    /// One sentence, without the text of the code.
    const char* what() const noexcept override { return text_; }

protected:
    /// `text` is kept as a pointer: a literal.
    explicit operation_cancelled(const char* text)
        : std::system_error(std::make_error_code(std::errc::operation_canceled)), text_(text) {}

private:
    const char* text_;  // a literal
};

/// The worker was shut down and the task did not stop in time, or the worker has ended for good.
class worker_stopped : public operation_cancelled {
public:
    worker_stopped() : operation_cancelled("the worker was shut down before the task ended") {}
};

namespace detail {

/// An E to hand on where nothing may be thrown; if there is no memory for it, the std::bad_alloc.
template <class E, class... Args>
std::exception_ptr exception_of(Args... args) noexcept {
    try {
        return std::make_exception_ptr(E(args...));
    } catch (...) {
        return std::current_exception();
    }
}

/// "client.cpp:42 (fetch) <- client.cpp:17 (load)"
inline std::string to_text(std::span<const await_location> chain) {
    std::string text;
    for (const await_location& at : chain) {
        const std::string file = at.file;
        if (!text.empty()) text += " <- ";
        text += file.substr(file.find_last_of("/\\") + 1) + ':' + std::to_string(at.line) + " (" + at.function + ')';
    }
    return text;
}

}  // namespace detail

/// A time limit has passed. `what()` is one sentence that names the limit and, where known, what the task was waiting for.
/// Copies share their text and never throw.
class timeout_error : public std::system_error {
public:
    /// Of an operation that has ended, for code that has time limits of its own. Its code is std::errc::timed_out.
    explicit timeout_error(std::string what = "the operation took too long")
        : timeout_error(std::move(what), true, {}) {}

    /// With what task_stopped() and suspended_at() are to say.
    timeout_error(std::string what, bool task_stopped, std::vector<await_location> suspended_at)
        : std::system_error(std::make_error_code(std::errc::timed_out)),
          report_(std::make_shared<report>(report{std::move(what), std::move(suspended_at), task_stopped})) {}

    timeout_error(const timeout_error&) noexcept = default;             ///< Also where it is moved from.
    timeout_error& operator=(const timeout_error&) noexcept = default;  ///< As above.

    /// One sentence, without the text of the code.
    const char* what() const noexcept override { return report_->text.c_str(); }

    /// True if the task has ended: whatever it referred to may be destroyed. If false its worker owns it until it ends.
    bool task_stopped() const noexcept { return report_->task_stopped; }

    /// The `co_await` that the task was suspended in when the time was over, then those that wait for it, outwards. Empty
    /// if the worker thread did not say so in time. The range lives as long as a copy of this exception.
    std::span<const await_location> suspended_at() const noexcept { return report_->suspended_at; }

private:
    struct report {
        std::string text;
        std::vector<await_location> suspended_at;
        bool task_stopped;
    };
    std::shared_ptr<const report> report_;
};

namespace detail {

inline timeout_error make_timeout_error(clock::duration limit, bool task_stopped, std::vector<await_location> chain,
                                        const std::string& otherwise = {}) {
    std::string text = "task took longer than " + to_text(limit);
    if (!chain.empty()) {
        text += "; suspended at " + to_text(chain);
    } else if (!otherwise.empty()) {
        text += "; " + otherwise;
    }
    return timeout_error(std::move(text), task_stopped, std::move(chain));
}

}  // namespace detail

}  // namespace sincpro
