#pragma once

#include "detail/base/config.hpp"
#include "detail/base/duration.hpp"
#include "detail/base/intrusive_ptr.hpp"

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <typeinfo>
#include <utility>
#include <vector>

namespace sincpro::inline SINCPRO_DETAIL_VERSION {

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
    operation_cancelled();
    /// One sentence, without the text of the code.
    const char* what() const noexcept override { return text_; }

protected:
    /// `text` is kept as a pointer: a literal.
    explicit operation_cancelled(const char* text);

private:
    const char* text_;  // a literal
};

/// The worker was shut down and the task did not stop in time, or the worker has ended for good.
class worker_stopped : public operation_cancelled {
public:
    worker_stopped();
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

/// True for an operation_cancelled, and what derives from it.
bool is_cancellation(const std::exception_ptr& error) noexcept;

/// "client.cpp:42 (fetch) <- client.cpp:17 (load)"
std::string to_text(std::span<const await_location> chain);

}  // namespace detail

/// A time limit has passed. `what()` is one sentence that names the limit and, where known, what the task was waiting for.
/// Copies share their text and never throw.
class timeout_error : public std::system_error {
public:
    /// Of an operation that has ended, for code that has time limits of its own. Its code is std::errc::timed_out.
    explicit timeout_error(std::string what = "the operation took too long");

    /// With what task_stopped() and suspended_at() are to say.
    timeout_error(std::string what, bool task_stopped, std::vector<await_location> suspended_at);

    timeout_error(const timeout_error&) noexcept;             ///< Also where it is moved from.
    timeout_error& operator=(const timeout_error&) noexcept;  ///< As above.
    SINCPRO_DETAIL_INLINE ~timeout_error() override;

    /// One sentence, without the text of the code.
    SINCPRO_DETAIL_INLINE const char* what() const noexcept override;

    /// True if the task has ended: whatever it referred to may be destroyed. If false its worker owns it until it ends.
    bool task_stopped() const noexcept;

    /// The `co_await` that the task was suspended in when the time was over, then those that wait for it, outwards. Empty
    /// if the worker thread did not say so in time. The range lives as long as a copy of this exception.
    std::span<const await_location> suspended_at() const noexcept;

private:
    struct report;
    detail::intrusive_ptr<report> report_;
};

namespace detail {

timeout_error make_timeout_error(clock::duration limit, bool task_stopped, std::vector<await_location> chain,
                                 const std::string& otherwise = {});

}  // namespace detail

#if SINCPRO_DETAIL_DEFINITIONS

SINCPRO_DETAIL_INLINE operation_cancelled::operation_cancelled() : operation_cancelled("the task was cancelled") {}
SINCPRO_DETAIL_COLD operation_cancelled::operation_cancelled(const char* text)
    : std::system_error(std::make_error_code(std::errc::operation_canceled)), text_(text) {}

SINCPRO_DETAIL_COLD worker_stopped::worker_stopped()
    : operation_cancelled("the worker was shut down before the task ended") {}

struct timeout_error::report : detail::ref_counted<report> {
    report(std::string t, std::vector<await_location> at, bool stopped)
        : text(std::move(t)), suspended_at(std::move(at)), task_stopped(stopped) {}
    ~report() = default;
    std::string text;
    std::vector<await_location> suspended_at;
    bool task_stopped;
};

SINCPRO_DETAIL_INLINE timeout_error::timeout_error(std::string what) : timeout_error(std::move(what), true, {}) {}
SINCPRO_DETAIL_COLD timeout_error::timeout_error(std::string what, bool task_stopped,
                                                 std::vector<await_location> suspended_at)
    : std::system_error(std::make_error_code(std::errc::timed_out)),
      report_(new report(std::move(what), std::move(suspended_at), task_stopped)) {}
SINCPRO_DETAIL_INLINE timeout_error::timeout_error(const timeout_error&) noexcept = default;
SINCPRO_DETAIL_INLINE timeout_error& timeout_error::operator=(const timeout_error&) noexcept = default;
SINCPRO_DETAIL_INLINE timeout_error::~timeout_error() = default;
SINCPRO_DETAIL_INLINE bool timeout_error::task_stopped() const noexcept { return report_->task_stopped; }
SINCPRO_DETAIL_INLINE std::span<const await_location> timeout_error::suspended_at() const noexcept {
    return report_->suspended_at;
}
SINCPRO_DETAIL_INLINE const char* timeout_error::what() const noexcept { return report_->text.c_str(); }

namespace detail {

SINCPRO_DETAIL_COLD bool is_cancellation(const std::exception_ptr& error) noexcept {
#if defined(__GLIBCXX__) && defined(__cpp_rtti)
    // To throw it takes a microsecond, and all of a hundred thousand children may have been cancelled.
    if (*error.__cxa_exception_type() == typeid(operation_cancelled)) return true;
#endif
    try {
        std::rethrow_exception(error);
    } catch (const operation_cancelled&) {
        return true;
    } catch (...) {
        return false;
    }
}

SINCPRO_DETAIL_COLD std::string to_text(std::span<const await_location> chain) {
    std::string text;
    for (const await_location& at : chain) {
        std::string_view file = at.file;
        file.remove_prefix(file.find_last_of("/\\") + 1);
        if (!text.empty()) text += " <- ";
        text += file;
        text += ':';
        text += std::to_string(at.line);
        text += " (";
        text += at.function;
        text += ')';
    }
    return text;
}

SINCPRO_DETAIL_COLD timeout_error make_timeout_error(clock::duration limit, bool task_stopped,
                                                     std::vector<await_location> chain, const std::string& otherwise) {
    std::string text = "task took longer than " + to_text(limit);
    if (!chain.empty()) {
        text += "; suspended at ";
        text += to_text(chain);
    } else if (!otherwise.empty()) {
        text += "; ";
        text += otherwise;
    }
    return timeout_error(std::move(text), task_stopped, std::move(chain));
}

}  // namespace detail

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION
