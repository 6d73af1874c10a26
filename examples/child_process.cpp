// A child process that a task starts and waits for. The worker's threads block signals, and posix_spawn hands that on: the
// child is given a mask of its own, or nobody could end it. (After a fork() the library does that.)
// g++ -std=c++20 -Iinclude examples/child_process.cpp -o child_process -pthread && ./child_process
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <system_error>

#include <spawn.h>
#include <sys/wait.h>

using namespace std::chrono_literals;

pid_t start(std::string command) {
    char shell[] = "sh", option[] = "-c";
    char* const arguments[] = {shell, option, command.data(), nullptr};
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_t with;
    posix_spawnattr_init(&with);
    posix_spawnattr_setsigmask(&with, &none);
    posix_spawnattr_setflags(&with, POSIX_SPAWN_SETSIGMASK);
    pid_t child = 0;
    const int error = posix_spawnp(&child, shell, nullptr, &with, arguments, nullptr);
    posix_spawnattr_destroy(&with);
    if (error != 0) throw std::system_error(error, std::generic_category(), command);
    return child;
}

int wait_for(pid_t child) {  // blocks, so a thread of to_thread calls it
    int status = 0;
    while (waitpid(child, &status, 0) < 0) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// When the task is cancelled the process is ended too.
sincpro::task<int> run(std::string command) {
    const pid_t child = start(command);
    std::exception_ptr cancelled;
    try {
        co_return co_await sincpro::to_thread(sincpro::abandon_on_cancel, wait_for, child);
    } catch (const sincpro::operation_cancelled&) {
        cancelled = std::current_exception();
    }
    kill(child, SIGTERM);
    std::rethrow_exception(cancelled);
}

int main() {
    std::cout << "ended with " << sincpro::run_async_task(run("exit 3")) << '\n';
    try {
        sincpro::run_async_task(run("exec sleep 60"), 100ms);
    } catch (const sincpro::timeout_error& error) {
        std::cout << error.what() << '\n';
    }
}
