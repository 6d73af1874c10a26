#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "events.hpp"
#include "threads.hpp"

namespace support {

class counted;

/// What became of the `counted` objects that were made with it. Copies share one record, readable from any thread.
class lifetimes {
public:
    [[nodiscard]] int constructed() const { return read(&record::constructed); }
    [[nodiscard]] int copied() const { return read(&record::copied); }
    [[nodiscard]] int moved() const { return read(&record::moved); }
    [[nodiscard]] int destroyed() const { return read(&record::destroyed); }
    /// The thread (this_thread_number) of the last destruction of an object that had not been moved from; 0: none.
    [[nodiscard]] std::int64_t destroyed_on() const { return read(&record::destroyed_on); }

    /// Objects that exist now, moved-from ones included.
    [[nodiscard]] int alive() const {
        std::lock_guard lock(record_->mutex);
        return record_->constructed - record_->destroyed;
    }

    /// Blocks until no object is left. False if one still is after the time.
    [[nodiscard]] bool wait_until_gone(std::chrono::milliseconds limit = patience) const {
        std::unique_lock lock(record_->mutex);
        return record_->changed.wait_until(lock, std::chrono::system_clock::now() + limit,
                                           [&] { return record_->constructed == record_->destroyed; });
    }

private:
    friend counted;
    struct record {
        std::mutex mutex;
        std::condition_variable changed;
        int constructed = 0, copied = 0, moved = 0, destroyed = 0;
        std::int64_t destroyed_on = 0;
    };

    template <class T>
    T read(T record::*member) const {
        std::lock_guard lock(record_->mutex);
        return (*record_).*member;
    }

    std::shared_ptr<record> record_ = std::make_shared<record>();
};

/// An object that writes down its life: construction (copies and moves too), destruction, and on which thread it died.
class counted {
public:
    explicit counted(const lifetimes& log) : record_(log.record_) { note_construction(nullptr); }
    counted(const counted& other) : record_(other.record_) { note_construction(&lifetimes::record::copied); }
    counted(counted&& other) noexcept : record_(other.record_) {
        note_construction(&lifetimes::record::moved);
        other.moved_from_ = true;
    }
    counted& operator=(const counted&) = delete;
    counted& operator=(counted&&) = delete;

    ~counted() {
        std::lock_guard lock(record_->mutex);
        ++record_->destroyed;
        if (!moved_from_) {
            record_->destroyed_on = this_thread_number();
        }
        record_->changed.notify_all();
    }

private:
    void note_construction(int lifetimes::record::*kind) const {
        std::lock_guard lock(record_->mutex);
        ++record_->constructed;
        if (kind != nullptr) {
            ++((*record_).*kind);
        }
    }

    std::shared_ptr<lifetimes::record> record_;
    bool moved_from_ = false;
};

}  // namespace support
