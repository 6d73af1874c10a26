// libcurl's multi interface driven by a coroutine: many URLs at once, from one synchronous call.
// g++ -std=c++20 -Iinclude examples/curl_multi.cpp -o curl_multi -pthread -lcurl && ./curl_multi http://localhost:8000/
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <curl/curl.h>

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using sincpro::task;

struct transfer {
    std::string url;
    std::string error = "not finished";
    std::string body;
    long status = 0;
};

// What happened to a descriptor, in libcurl's words; CURL_SOCKET_TIMEOUT when the time was over.
struct event {
    curl_socket_t socket;
    int what;
};

task<event> readable(curl_socket_t socket) {
    co_await sincpro::wait_readable(socket);
    co_return event{socket, CURL_CSELECT_IN};
}

task<event> writable(curl_socket_t socket) {
    co_await sincpro::wait_writable(socket);
    co_return event{socket, CURL_CSELECT_OUT};
}

task<event> time_over(clock_type::time_point when) {
    co_await sincpro::sleep_until(when);
    co_return event{CURL_SOCKET_TIMEOUT, 0};
}

void check(CURLMcode code) {
    if (code != CURLM_OK) throw std::runtime_error(::curl_multi_strerror(code));
}

class multi_session {
public:
    multi_session() : multi_(::curl_multi_init()) {
        if (!multi_) throw std::bad_alloc();
        check(::curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this));
        check(::curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, on_socket));
        check(::curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this));
        check(::curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, on_timer));
        check(::curl_multi_setopt(multi_.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, 64L));
    }
    multi_session(const multi_session&) = delete;
    ~multi_session() {
        for (const easy_handle& easy : handles_) {
            ::curl_multi_remove_handle(multi_.get(), easy.get());
        }
    }

    void add(transfer& to, std::chrono::milliseconds limit) {
        easy_handle easy(::curl_easy_init());
        if (!easy) throw std::bad_alloc();
        ::curl_easy_setopt(easy.get(), CURLOPT_URL, to.url.c_str());
        ::curl_easy_setopt(easy.get(), CURLOPT_PRIVATE, &to);
        ::curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &to);
        ::curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, on_data);
        ::curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(limit.count()));
        ::curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
        check(::curl_multi_add_handle(multi_.get(), easy.get()));
        handles_.push_back(std::move(easy));
    }

    // Waits for the first of all events that libcurl asked for, tells it, and so on. While libcurl works nobody waits
    // for a descriptor, so it may close them as it likes.
    task<> perform() {
        event next{CURL_SOCKET_TIMEOUT, 0};
        for (;;) {
            if (next.socket == CURL_SOCKET_TIMEOUT) timer_.reset();
            int running = 0;
            check(::curl_multi_socket_action(multi_.get(), next.socket, next.what, &running));
            collect();
            if (running == 0) {
                co_return;
            }
            const auto first = co_await sincpro::when_any(events());
            next = first.second;
        }
    }

private:
    struct multi_deleter {
        void operator()(CURLM* multi) const { ::curl_multi_cleanup(multi); }
    };
    struct easy_deleter {
        void operator()(CURL* easy) const { ::curl_easy_cleanup(easy); }
    };
    using easy_handle = std::unique_ptr<CURL, easy_deleter>;

    std::vector<task<event>> events() const {
        std::vector<task<event>> all;
        for (const auto& [socket, what] : wanted_) {
            if ((what & CURL_POLL_IN) != 0) all.push_back(readable(socket));
            if ((what & CURL_POLL_OUT) != 0) all.push_back(writable(socket));
        }
        if (timer_) all.push_back(time_over(*timer_));
        return all;
    }

    void collect() {
        int left = 0;
        while (const CURLMsg* message = ::curl_multi_info_read(multi_.get(), &left)) {
            transfer* done = nullptr;
            ::curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &done);
            ::curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &done->status);
            done->error = message->data.result == CURLE_OK ? "" : ::curl_easy_strerror(message->data.result);
        }
    }

    static int on_socket(CURL*, curl_socket_t socket, int what, void* session, void*) noexcept {
        auto& wanted = static_cast<multi_session*>(session)->wanted_;
        if (what == CURL_POLL_REMOVE) {
            wanted.erase(socket);
        } else {
            wanted[socket] = what;
        }
        return 0;
    }

    static int on_timer(CURLM*, long milliseconds, void* session) noexcept {
        auto& timer = static_cast<multi_session*>(session)->timer_;
        timer.reset();
        if (milliseconds >= 0) timer = clock_type::now() + std::chrono::milliseconds(milliseconds);
        return 0;
    }

    static std::size_t on_data(const char* data, std::size_t, std::size_t size, void* to) noexcept {
        static_cast<transfer*>(to)->body.append(data, size);
        return size;
    }

    std::map<curl_socket_t, int> wanted_;          // before multi_: libcurl calls back until that is gone
    std::optional<clock_type::time_point> timer_;  // fires once
    std::unique_ptr<CURLM, multi_deleter> multi_;
    std::vector<easy_handle> handles_;
};

task<std::vector<transfer>> fetch_all(std::vector<std::string> urls, std::chrono::milliseconds limit) {
    std::vector<transfer> transfers(urls.size());
    multi_session session;
    for (std::size_t i = 0; i < urls.size(); ++i) {
        transfers[i].url = urls[i];
        session.add(transfers[i], limit);
    }
    co_await session.perform();
    co_return transfers;
}

int main(int argc, char** argv) {
    std::chrono::milliseconds limit = 10s;
    std::vector<std::string> urls(argv + 1, argv + argc);
    if (urls.size() >= 2 && urls[0] == "-t") {
        limit = std::chrono::milliseconds(std::atol(urls[1].c_str()) * 1000);
        urls.erase(urls.begin(), urls.begin() + 2);
    }
    if (urls.empty() || limit <= 0s || ::curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        std::fprintf(stderr, "usage: curl_multi [-t seconds] URL...\n");
        return 2;
    }
    int failed = 0;
    try {
        for (const transfer& done : sincpro::run_async_task(fetch_all(urls, limit), 2 * limit)) {
            if (done.error.empty()) {
                std::printf("%s: status %ld, %zu bytes\n", done.url.c_str(), done.status, done.body.size());
            } else {
                std::printf("%s: failed, %s\n", done.url.c_str(), done.error.c_str());
                ++failed;
            }
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        failed = 1;
    }
    ::curl_global_cleanup();
    return failed == 0 ? 0 : 1;
}
