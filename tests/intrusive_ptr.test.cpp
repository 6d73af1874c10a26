#include <sincpro/async_worker/detail/base/intrusive_ptr.hpp>

#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using sincpro::detail::intrusive_ptr;
using sincpro::detail::ref_counted;
using sincpro::detail::share;

/// Says when it is deleted.
struct counted_object : ref_counted<counted_object> {
    explicit counted_object(int& n) : deleted(n) {}
    ~counted_object() { ++deleted; }
    int& deleted;
};
using pointer = intrusive_ptr<counted_object>;

static_assert(!std::is_convertible_v<counted_object*, pointer>);
static_assert(!std::is_convertible_v<pointer, bool>);
static_assert(std::is_nothrow_move_constructible_v<pointer> && std::is_nothrow_copy_constructible_v<pointer>);
static_assert(std::is_convertible_v<pointer, intrusive_ptr<const counted_object>>);
static_assert(!std::is_constructible_v<pointer, intrusive_ptr<const counted_object>>);

}  // namespace

TEST_CASE("an intrusive_ptr takes over the reference that it is made from, and releases it") {
    int deleted = 0;
    {
        auto* const object = new counted_object(deleted);
        const pointer p(object);
        CHECK(p);
        CHECK(p.get() == object);
        CHECK(&*p == object);
        CHECK(&p->deleted == &deleted);
    }
    CHECK(deleted == 1);
    const pointer empty;
    CHECK_FALSE(empty);
    CHECK(empty.get() == nullptr);
}

TEST_CASE("copies of an intrusive_ptr have a reference each, moves pass theirs on") {
    int deleted = 0;
    pointer first(new counted_object(deleted));
    pointer second = first;
    pointer third = std::move(first);
    CHECK_FALSE(first);
    const pointer of_nothing = first;
    CHECK_FALSE(of_nothing);
    second = {};
    CHECK(deleted == 0);
    const intrusive_ptr<const counted_object> converted = std::move(third);
    CHECK_FALSE(third);
    CHECK(deleted == 0);
    const pointer shared = share(const_cast<counted_object&>(*converted));
    CHECK(shared.get() == converted.get());
}

TEST_CASE("assigning to an intrusive_ptr releases what it had, once") {
    int deleted_a = 0, deleted_b = 0;
    {
        pointer p(new counted_object(deleted_a));
        p = pointer(new counted_object(deleted_b));
        CHECK(deleted_a == 1);
        const pointer q = p;
        p = q;
        auto& itself = p;
        p = itself;
        p = std::move(itself);
        CHECK(p.get() == q.get());
        p = {};
        CHECK_FALSE(p);
        CHECK(deleted_b == 0);
    }
    CHECK(deleted_b == 1);
}

TEST_CASE("a detached reference is the caller's") {
    int deleted = 0;
    pointer p(new counted_object(deleted));
    counted_object* const object = p.detach();
    CHECK_FALSE(p);
    CHECK(p.detach() == nullptr);
    p = {};
    CHECK(deleted == 0);
    object->release();
    CHECK(deleted == 1);
}

TEST_CASE("an object is deleted once, by whichever thread releases the last reference") {
    for (int round = 0; round < 100; ++round) {
        int deleted = 0;
        {
            const pointer p(new counted_object(deleted));
            std::vector<std::thread> threads;
            for (int i = 0; i < 3; ++i) {
                threads.emplace_back([mine = p] {
                    for (int n = 0; n < 100; ++n) {
                        const pointer another = mine;
                    }
                });
            }
            for (std::thread& t : threads) {
                t.join();
            }
        }
        REQUIRE(deleted == 1);
    }
}
