#pragma once

#if !defined(_WIN32)

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace support {

/// How another process ended.
struct ended_process {
    int exit_code = -1;   // -1: it did not exit
    int signal = 0;       // that ended it; 0: none
    bool in_time = true;  // false: it was killed because its time was over
    std::string out, err;
    std::chrono::steady_clock::duration took{};
};

/// Another process, in a group of its own, with its output in pipes. Killed by the destructor if nobody waited for it.
class child_process {
public:
    /// `settings`: "NAME=value", added to the environment.
    explicit child_process(std::vector<std::string> command, const std::vector<std::string>& settings = {}) {
        out_ = pipe_end::make();
        err_ = pipe_end::make();

        std::vector<std::string> variables = settings;
        for (char** variable = environ; *variable != nullptr; ++variable) {
            variables.emplace_back(*variable);
        }

        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, out_.write_end, STDOUT_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, err_.write_end, STDERR_FILENO);
        posix_spawnattr_t attributes;
        ::posix_spawnattr_init(&attributes);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
        ::posix_spawnattr_setpgroup(&attributes, 0);
        sigset_t not_ignored;  // by nohup, for one
        ::sigemptyset(&not_ignored);
        for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM}) {
            ::sigaddset(&not_ignored, signal);
        }
        ::posix_spawnattr_setsigdefault(&attributes, &not_ignored);
        const auto argv = pointers(command);
        const auto env = pointers(variables);
        const int error = ::posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), env.data());
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
        if (error != 0) {
            throw std::system_error(error, std::generic_category(), "cannot start " + command[0]);
        }
        out_.close_write_end();
        err_.close_write_end();
    }

    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;
    ~child_process() {
        if (pid_ > 0) {
            ::kill(-pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    void send(int signal) const { ::kill(pid_, signal); }

    /// Blocks until standard output contains `text`. False if the process ended or the time was over first.
    bool prints(const std::string& text, std::chrono::milliseconds limit) {
        const auto until = std::chrono::steady_clock::now() + limit;
        while (out_.text.find(text) == std::string::npos) {
            if (!read_some(until)) {
                return false;
            }
        }
        return true;
    }

    /// Blocks until the process and all who hold its output have ended, or kills it when its time is over.
    ended_process wait(std::chrono::milliseconds limit) {
        const auto until = std::chrono::steady_clock::now() + limit;
        while (read_some(until)) {
        }
        ended_process ended;
        if (out_.open() || err_.open()) {
            ended.in_time = false;
            ::kill(-pid_, SIGKILL);
        }
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = -1;
        if (WIFEXITED(status)) {
            ended.exit_code = WEXITSTATUS(status);
        }
        if (WIFSIGNALED(status)) {
            ended.signal = WTERMSIG(status);
        }
        ended.out = std::move(out_.text);
        ended.err = std::move(err_.text);
        ended.took = std::chrono::steady_clock::now() - begin_;
        return ended;
    }

private:
    struct pipe_end {
        pipe_end() = default;
        pipe_end(pipe_end&& other) noexcept { *this = std::move(other); }
        pipe_end& operator=(pipe_end&& other) noexcept {
            std::swap(read_end, other.read_end);
            std::swap(write_end, other.write_end);
            std::swap(text, other.text);
            return *this;
        }
        ~pipe_end() {
            close_read_end();
            close_write_end();
        }

        static pipe_end make() {
            int ends[2];
            if (::pipe(ends) != 0) {
                throw std::system_error(errno, std::generic_category(), "pipe");
            }
            pipe_end made;
            made.read_end = ends[0];
            made.write_end = ends[1];
            ::fcntl(made.read_end, F_SETFD, FD_CLOEXEC);
            ::fcntl(made.write_end, F_SETFD, FD_CLOEXEC);
            return made;
        }

        bool open() const { return read_end >= 0; }
        void close_read_end() { close(read_end); }
        void close_write_end() { close(write_end); }
        static void close(int& end) {
            if (end >= 0) {
                ::close(std::exchange(end, -1));
            }
        }

        void read() {
            char buffer[4096];
            const auto got = ::read(read_end, buffer, sizeof buffer);
            if (got > 0) {
                text.append(buffer, static_cast<std::size_t>(got));
            } else if (got == 0) {
                close_read_end();
            }
        }

        int read_end = -1, write_end = -1;
        std::string text;
    };

    static std::vector<char*> pointers(std::vector<std::string>& strings) {
        std::vector<char*> made;
        for (auto& string : strings) {
            made.push_back(string.data());
        }
        made.push_back(nullptr);
        return made;
    }

    /// False if there is nothing more to read or the time is over.
    bool read_some(std::chrono::steady_clock::time_point until) {
        if (!out_.open() && !err_.open()) {
            return false;
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
        if (left <= 0) {
            return false;
        }
        pollfd polled[] = {{out_.read_end, POLLIN, 0}, {err_.read_end, POLLIN, 0}};
        if (::poll(polled, 2, static_cast<int>(left)) > 0) {
            if (polled[0].revents != 0) {
                out_.read();
            }
            if (polled[1].revents != 0) {
                err_.read();
            }
        }
        return true;
    }

    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
    pipe_end out_, err_;
    pid_t pid_ = -1;
};

}  // namespace support

#endif
