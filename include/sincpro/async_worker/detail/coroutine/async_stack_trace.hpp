#pragma once

#include "../../errors.hpp"
#include "../base/config.hpp"
#include "job.hpp"
#include "operation.hpp"

#include <string>
#include <vector>

#if SINCPRO_DETAIL_DEFINITIONS
#include <cstddef>
#include <string_view>
#include <utility>
#endif

// Where a task is suspended, from what its coroutines' promises say. All of it runs on the loop's thread, or on another one
// while that stands still.

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Appends where `j` is suspended, innermost first; of several children the first that has not ended.
void append_trace(job& j, std::vector<await_location>& chain);

/// Appends every flow of `j`, one a line: where it is suspended, below that the children that it waits for.
void append_tree(job& j, std::string& text);

#if SINCPRO_DETAIL_DEFINITIONS

/// True for the library's own headers: their coroutines tell a user nothing.
inline bool is_of_the_library(std::string_view file) noexcept {
    constexpr std::string_view folder = "sincpro/async_worker/", behind = "detail/", slashes = "/\\";
    const auto same = [&](std::string_view a, std::string_view b) {
        for (std::size_t i = 0; i < b.size(); ++i) {
            if (i >= a.size() || (b[i] == '/' ? slashes.find(a[i]) == slashes.npos : a[i] != b[i])) return false;
        }
        return true;
    };
    for (std::size_t at = file.rfind("sincpro"); at != file.npos;
         at = at == 0 ? file.npos : file.rfind("sincpro", at - 1)) {
        if (!same(file.substr(at), folder)) continue;
        const std::string_view rest = file.substr(at + folder.size());
        return rest.ends_with(".hpp") && (rest.find_first_of(slashes) == rest.npos || same(rest, behind));
    }
    return false;
}

/// Appends the awaits that lead to `o`, innermost first.
inline void append_awaits(const operation& o, std::vector<await_location>& chain) {
    for (const promise_base* p = o.awaited_by(); p != nullptr; p = p->awaiter) {
        if (p->at.line != 0 && !is_of_the_library(p->at.file)) chain.push_back(p->at);
    }
}

SINCPRO_DETAIL_COLD void append_trace(job& j, std::vector<await_location>& chain) {
    std::vector<job*> jobs;
    for (job* next = &j; next != nullptr;) {
        job& of = *std::exchange(next, nullptr);
        jobs.push_back(&of);
        if (of.waiting.empty()) break;
        operation& newest = of.waiting.front();
        for (std::size_t i = 0; next == nullptr; ++i) {
            job* const c = newest.child(i);
            if (c == nullptr) break;
            if (!c->done) next = c;
        }
    }
    while (!jobs.empty()) {
        for (operation& o : jobs.back()->waiting) append_awaits(o, chain);
        jobs.pop_back();
    }
}

SINCPRO_DETAIL_COLD void append_tree(job& j, std::string& text) {
    struct line {
        job* of;
        std::size_t indent, number;
    };
    std::vector<line> todo{{&j, 0, 0}};
    while (!todo.empty()) {
        const line next = todo.back();
        todo.pop_back();
        if (next.indent != 0) {
            text.append(2 + 2 * next.indent, ' ').append("child ").append(std::to_string(next.number)).append(": ");
        }
        std::vector<await_location> chain;
        for (operation& o : next.of->waiting) {
            append_awaits(o, chain);
            const std::size_t first = todo.size();
            for (std::size_t i = 0; job* const c = o.child(i); ++i) {
                if (!c->done) todo.push_back({c, next.indent + 1, i + 1});
            }
            for (std::size_t a = first, b = todo.size(); a + 1 < b; ++a) std::swap(todo[a], todo[--b]);
        }
        text += next.of->waiting.empty() ? "ready to run" : "suspended";
        if (!chain.empty()) text.append(" at ").append(to_text(chain));
        if (next.of->cancelled) text += ", cancelled";
        text += '\n';
    }
}

#endif

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
