#pragma once

#include "config.hpp"

#include <atomic>
#include <type_traits>
#include <utility>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// Base of a T whose references are counted. It begins with one reference; whoever releases the last one deletes it.
template <class T>
class ref_counted {
public:
    ref_counted(const ref_counted&) = delete;
    ref_counted& operator=(const ref_counted&) = delete;

    void add_ref() const noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() const noexcept {
        // Each release is before the deletion, which acquires them all.
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete static_cast<const T*>(this);
    }

protected:
    ref_counted() noexcept = default;
    ~ref_counted() = default;

private:
    mutable std::atomic<unsigned> references_{1};
};

/// Owns one reference to a T that counts its references itself. (boost::intrusive_ptr)
template <class T>
class intrusive_ptr {
public:
    intrusive_ptr() noexcept = default;
    /// Takes over a reference that is counted already.
    explicit intrusive_ptr(T* p) noexcept : p_(p) {}
    template <class D>
        requires std::is_convertible_v<D*, T*> intrusive_ptr(intrusive_ptr<D> other)
    noexcept : p_(other.detach()) {}
    intrusive_ptr(const intrusive_ptr& other) noexcept : p_(other.p_) {
        if (p_ != nullptr) p_->add_ref();
    }
    intrusive_ptr(intrusive_ptr&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
    intrusive_ptr& operator=(intrusive_ptr other) noexcept {
        std::swap(p_, other.p_);
        return *this;
    }
    ~intrusive_ptr() {
        if (p_ != nullptr) p_->release();
    }

    T* get() const noexcept { return p_; }
    T* operator->() const noexcept { return p_; }
    T& operator*() const noexcept { return *p_; }
    explicit operator bool() const noexcept { return p_ != nullptr; }

    /// Gives the reference away, uncounted.
    T* detach() noexcept { return std::exchange(p_, nullptr); }

private:
    T* p_ = nullptr;
};

/// A new reference to an object that others own as well.
template <class T>
intrusive_ptr<T> share(T& object) noexcept {
    object.add_ref();
    return intrusive_ptr<T>(&object);
}

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
