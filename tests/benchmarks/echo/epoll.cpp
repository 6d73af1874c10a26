// The floor: callbacks on an epoll descriptor, each socket registered once.

#include "echo.hpp"

#include <sys/epoll.h>

namespace {

struct end {
    int fd;
    int left;
    bool starts;
};

struct epoll_callbacks {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int playing = 0;

    void readable(end& self) {
        if (!bench::read_byte(self.fd)) return;
        if (--self.left > 0 || !self.starts) bench::write_byte(self.fd);
        if (self.left == 0) {
            epoll_ctl(poller, EPOLL_CTL_DEL, self.fd, nullptr);
            --playing;
        }
    }

    void play(const std::vector<bench::pair>& pairs, int rounds) {
        std::vector<end> ends;
        ends.reserve(2 * pairs.size());
        for (auto& one : pairs) {
            ends.push_back({one.pong, rounds, false});
            ends.push_back({one.ping, rounds, true});
        }
        for (auto& one : ends) {
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.ptr = &one;
            epoll_ctl(poller, EPOLL_CTL_ADD, one.fd, &event);
            if (one.starts) bench::write_byte(one.fd);
        }
        playing = static_cast<int>(ends.size());
        std::vector<epoll_event> events(1024);
        while (playing > 0) {
            int count = epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
            for (int i = 0; i < count; ++i) readable(*static_cast<end*>(events[static_cast<std::size_t>(i)].data.ptr));
        }
    }
};

}  // namespace

int main(int argc, char** argv) { return bench::echo_main<epoll_callbacks>(argc, argv); }
