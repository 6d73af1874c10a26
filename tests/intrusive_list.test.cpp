#include <sincpro/async_worker/detail/base/intrusive_list.hpp>

#include <array>
#include <cstddef>
#include <string>

#include "support/catch.hpp"

namespace {

using sincpro::detail::intrusive_list;
using sincpro::detail::intrusive_list_node;

struct second_list;

struct element : intrusive_list_node<element>, intrusive_list_node<second_list> {
    using first = intrusive_list_node<element>;
    using second = intrusive_list_node<second_list>;
    explicit element(char c) : name(c) {}
    char name;
};

template <class List>
std::string names(List& list) {
    std::string all;
    for (element& e : list) {
        all += e.name;
    }
    return all;
}

struct letters {
    element a{'a'}, b{'b'}, c{'c'};
    intrusive_list<element> list;
};

}  // namespace

TEST_CASE("an intrusive_list is first in, first out") {
    letters l;
    CHECK(l.list.empty());
    l.list.push_back(l.a);
    l.list.push_back(l.b);
    l.list.push_back(l.c);
    CHECK(l.a.first::is_linked());
    CHECK(names(l.list) == "abc");
    CHECK(&l.list.front() == &l.a);
    CHECK(&l.list.pop_front() == &l.a);
    CHECK_FALSE(l.a.first::is_linked());
    CHECK(&l.list.pop_front() == &l.b);
    CHECK(&l.list.pop_front() == &l.c);
    CHECK(l.list.empty());
}

TEST_CASE("push_front puts an element before all others") {
    letters l;
    l.list.push_front(l.a);
    l.list.push_front(l.b);
    l.list.push_back(l.c);
    CHECK(names(l.list) == "bac");
}

TEST_CASE("an element can leave its list wherever it stands, and enter it again") {
    for (std::size_t leaves = 0; leaves < 3; ++leaves) {
        letters l;
        const std::array<element*, 3> all{&l.a, &l.b, &l.c};
        std::string left = "abc";
        for (element* e : all) {
            l.list.push_back(*e);
        }
        all[leaves]->first::unlink();
        left.erase(leaves, 1);
        CHECK(names(l.list) == left);
        l.list.push_back(*all[leaves]);
        CHECK(names(l.list) == left + all[leaves]->name);
    }
}

TEST_CASE("an iterator that was advanced stays valid when the element before it leaves") {
    letters l;
    l.list.push_back(l.a);
    l.list.push_back(l.b);
    l.list.push_back(l.c);
    std::string seen;
    for (auto i = l.list.begin(); i != l.list.end();) {
        element& e = *i;
        ++i;
        seen += e.name;
        e.first::unlink();
    }
    CHECK(seen == "abc");
    CHECK(l.list.empty());
}

TEST_CASE("insert_before puts an element anywhere, also at the end") {
    letters l;
    l.list.insert_before(l.list.end(), l.b);
    l.list.insert_before(l.list.begin(), l.a);
    l.list.insert_before(l.list.end(), l.c);
    CHECK(names(l.list) == "abc");
    l.b.first::unlink();
    CHECK(names(l.list) == "ac");
}

TEST_CASE("an element stands in one list for each of its tags") {
    letters l;
    intrusive_list<element, second_list> other;
    l.list.push_back(l.a);
    l.list.push_back(l.b);
    other.push_back(l.b);
    other.push_back(l.a);
    CHECK(names(l.list) == "ab");
    CHECK(names(other) == "ba");
    l.a.first::unlink();
    CHECK(names(l.list) == "b");
    CHECK(names(other) == "ba");
    CHECK(l.a.second::is_linked());
}

TEST_CASE("a copy of an element stands in no list") {
    letters l;
    l.list.push_back(l.a);
    const element copy = l.a;
    CHECK(copy.name == 'a');
    CHECK_FALSE(copy.first::is_linked());
    CHECK(names(l.list) == "a");
}
