#pragma once

#include "config.hpp"

#include <cassert>

namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail {

/// The links of an element of an intrusive_list, as its base. An element that stands in several lists has a base for each,
/// told apart by `Tag`. A copy of an element stands in no list.
template <class Tag>
class intrusive_list_node {
public:
    constexpr intrusive_list_node() noexcept = default;
    constexpr intrusive_list_node(const intrusive_list_node&) noexcept {}
    intrusive_list_node& operator=(const intrusive_list_node&) = delete;

    bool is_linked() const noexcept { return prev_ != nullptr; }

    /// Takes the element out of the list that it stands in.
    void unlink() noexcept {
        assert(is_linked());
        prev_->next_ = next_;
        next_->prev_ = prev_;
        prev_ = nullptr;
    }

private:
    template <class, class>
    friend class intrusive_list;
    friend class mpsc_queue;  // links elements by `next_` alone while they are on their way into a list

    intrusive_list_node* next_ = nullptr;
    intrusive_list_node* prev_ = nullptr;
};

/// A doubly linked list of elements that others own and keep in place. Never allocates; an element can leave it without
/// being searched. (boost::intrusive::list)
template <class T, class Tag = T>
class intrusive_list {
    using node = intrusive_list_node<Tag>;

public:
    /// Stays valid when other elements leave the list.
    class iterator {
    public:
        explicit iterator(node* at) noexcept : at_(at) {}
        T& operator*() const noexcept { return static_cast<T&>(*at_); }
        T* operator->() const noexcept { return &**this; }
        iterator& operator++() noexcept {
            at_ = at_->next_;
            return *this;
        }
        bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

    private:
        friend intrusive_list;
        node* at_;
    };

    constexpr intrusive_list() noexcept { ends_.next_ = ends_.prev_ = &ends_; }
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;

    bool empty() const noexcept { return ends_.next_ == &ends_; }
    iterator begin() noexcept { return iterator(ends_.next_); }
    iterator end() noexcept { return iterator(&ends_); }
    T& front() noexcept { return static_cast<T&>(*ends_.next_); }

    void push_front(T& element) noexcept { link(element, ends_, *ends_.next_); }
    void push_back(T& element) noexcept { link(element, *ends_.prev_, ends_); }
    T& pop_front() noexcept {
        T& first = front();
        static_cast<node&>(first).unlink();
        return first;
    }
    void insert_before(iterator at, T& element) noexcept { link(element, *at.at_->prev_, *at.at_); }

private:
    static void link(node& element, node& before, node& after) noexcept {
        assert(!element.is_linked());
        element.prev_ = &before;
        element.next_ = &after;
        before.next_ = after.prev_ = &element;
    }

    node ends_;  // the list is a ring: this is before its first element and after its last
};

}  // namespace sincpro::inline SINCPRO_DETAIL_VERSION::detail
