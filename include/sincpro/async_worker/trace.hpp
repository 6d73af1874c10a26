#pragma once

#include "cancellation.hpp"
#include "errors.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Where a task is suspended, from what its frames say of themselves. All of it runs on the loop's thread, or on another
// while the loop is held.

namespace sincpro::detail {

/// True for the library's own headers, which lie in one folder, or in one file with all of them.
inline bool is_of_the_library(std::string_view file) noexcept {
    constexpr std::string_view here = __FILE__, name = "trace.hpp";
    if (!here.ends_with(name)) return file == here;
    constexpr std::size_t folder = here.size() - name.size();
    return file.substr(0, folder) == here.substr(0, folder) && file.find('/', folder) == file.npos;
}

/// Appends the awaits that lead to `o`, innermost first; those of the library's own coroutines say nothing to a user.
inline void append_awaits(const operation& o, std::vector<await_location>& chain) {
    for (const promise_base* p = o.awaited_by(); p != nullptr; p = p->awaiter) {
        if (!is_of_the_library(p->at.file)) chain.push_back(p->at);
    }
}

/// Appends where `j` is suspended, innermost first; of several children the first that has not ended.
inline void append_trace(job& j, std::vector<await_location>& chain) {
    std::vector<job*> jobs;
    for (job* next = &j; next != nullptr;) {
        jobs.push_back(next);
        operation* const o = std::exchange(next, nullptr)->waits_in;
        for (std::size_t i = 0; o != nullptr && next == nullptr; ++i) {
            job* const c = o->child(i);
            if (c == nullptr) break;
            if (!c->done) next = c;
        }
    }
    for (auto i = jobs.rbegin(); i != jobs.rend(); ++i) {
        for (operation* o = (*i)->waits_in; o != nullptr; o = o->next_of_job()) append_awaits(*o, chain);
    }
}

/// Every flow of `j`, one a line: where it is suspended, below that the children that it waits for.
inline void append_tree(job& j, std::string& text) {
    struct line {
        job* of;
        std::size_t indent, number;
    };
    std::vector<line> todo{{&j, 0, 0}};
    while (!todo.empty()) {
        const line next = todo.back();
        todo.pop_back();
        if (next.indent != 0)
            text += std::string(2 + 2 * next.indent, ' ') + "child " + std::to_string(next.number) + ": ";
        std::vector<await_location> chain;
        for (operation* o = next.of->waits_in; o != nullptr; o = o->next_of_job()) {
            append_awaits(*o, chain);
            const std::size_t first = todo.size();
            for (std::size_t i = 0; job* const c = o->child(i); ++i) {
                if (!c->done) todo.push_back({c, next.indent + 1, i + 1});
            }
            for (std::size_t a = first, b = todo.size(); a + 1 < b; ++a) std::swap(todo[a], todo[--b]);
        }
        text += next.of->waits_in != nullptr ? "suspended" : "ready to run";
        if (!chain.empty()) text += " at " + to_text(chain);
        if (next.of->cancelled) text += ", cancelled";
        text += '\n';
    }
}

}  // namespace sincpro::detail
