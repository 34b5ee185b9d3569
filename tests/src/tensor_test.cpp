#include "tensor/tensor.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "tensor/arena.hpp"
#include "tensor/array.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("src math");

TEST_CASE("Philox4x32-10 gives the published known answers") {
    using Words = std::array<std::uint32_t, 4>;
    CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
          Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    constexpr std::uint32_t ones = 0xffffffff;
    CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a stream repeats, and another seed, purpose, step or sample gives another stream") {
    const auto first = [](Random random) { return random.bits(); };
    const std::uint32_t reference = first(Random(7, Purpose::test, 3, 5));
    CHECK(first(Random(7, Purpose::test, 3, 5)) == reference);
    const std::set<std::uint32_t> others{
        reference, first(Random(8, Purpose::test, 3, 5)), first(Random(7, Purpose::other, 3, 5)),
        first(Random(7, Purpose::test, 4, 5)), first(Random(7, Purpose::test, 3, 6))};
    CHECK(others.size() == 5);
}

TEST_CASE("normals have the moments 0, 1, 0, 3 within four standard errors") {
    constexpr int n = 400000;
    Random random(1, Purpose::test);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (int i = 0; i < n; ++i) {
        const double x = random.normal();
        m1 += x / n;
        m2 += x * x / n;
        m3 += x * x * x / n;
        m4 += x * x * x * x / n;
    }
    const double root = std::sqrt(static_cast<double>(n));  // variances of x..x^4: 1, 2, 15, 96
    CHECK(std::abs(m1) < 4 / root);
    CHECK(std::abs(m2 - 1) < 4 * std::sqrt(2.0) / root);
    CHECK(std::abs(m3) < 4 * std::sqrt(15.0) / root);
    CHECK(std::abs(m4 - 3) < 4 * std::sqrt(96.0) / root);
}

TEST_CASE("below(n) reaches each of 0..n-1 equally often within four standard errors") {
    constexpr int n = 7, draws = 70000;
    Random random(2, Purpose::test);
    std::array<int, n> count{};
    for (int i = 0; i < draws; ++i) ++count[random.below(n)];
    for (int c : count) CHECK(std::abs(c - draws / n) < 4 * std::sqrt(draws / n * (1.0 - 1.0 / n)));
    CHECK_THROWS_WITH_AS(random.below(0), "random: below(0)", Error);
}

TEST_CASE("a tensor is a view: slices and reshapes see the same numbers, last axis contiguous") {
    std::array<float, 24> memory{};
    for (int i = 0; i < 24; ++i) memory[static_cast<std::size_t>(i)] = static_cast<float>(i);
    const Tensor<float> x(memory.data(), {2, 3, 4});
    CHECK(x(1, 2, 3) == 23.0f);
    CHECK(x[1](2, 3) == 23.0f);
    CHECK(x[1][2].shape() == Shape{4});
    CHECK(x.rows().shape() == Shape{6, 4});
    CHECK(x.reshape({4, 6})(3, 5) == 23.0f);
    CHECK_THROWS_WITH_AS((void)x.reshape({5, 5}),
                         "reshape: [2,3,4] has not as many elements as [5,5]", Error);
    CHECK_THROWS_WITH_AS(require_same_shape("add", x, x[0]),
                         "add: shapes differ: [2,3,4] and [3,4]", Error);
}

TEST_CASE("an arena allocates aligned memory, and nothing from the heap after its first step") {
    Arena arena;
    const auto step = [&] {
        arena.reset();
        for (int i = 1; i < 200; ++i) {
            const Tensor<double> x = arena.zeros<double>({i, 97});
            REQUIRE(reinterpret_cast<std::uintptr_t>(x.data()) % kAlignment == 0);
            REQUIRE(x(i - 1, 96) == 0.0);
            x(i - 1, 96) = 1.0;
        }
    };
    step();
    arena.reset();
    const std::size_t capacity = arena.capacity();
    void* const first = arena.allocate(1);
    step();
    step();
    CHECK(arena.capacity() == capacity);
    arena.reset();
    CHECK(arena.allocate(1) == first);  // still the same single block
}

TEST_CASE("an array starts on a cache line, with zeros, and copies like a value") {
    for (const int n : {1, 3, 97, 4099}) {
        Array<float> x({n, 2});
        CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % kAlignment == 0);
        CHECK(x.size() == 2 * static_cast<std::size_t>(n));
        for (const float v : x) REQUIRE(v == 0.0f);
        x[1] = 5;
        const Tensor<float> view = x;
        CHECK(view(0, 1) == 5.0f);
        CHECK(view.shape() == Shape{n, 2});
        Array<float> copy = x;
        CHECK(copy == x);
        CHECK(reinterpret_cast<std::uintptr_t>(copy.data()) % kAlignment == 0);
        copy.tensor()(0, 1) = 6;
        CHECK(copy != x);
        CHECK(x[1] == 5.0f);
        const float* memory = copy.data();
        const Array<float> moved = std::move(copy);
        CHECK(moved.data() == memory);
        CHECK(moved.tensor()(0, 1) == 6.0f);
        const std::span<const float> numbers = moved;
        CHECK(numbers.size() == moved.size());
        x = moved;
        CHECK(x == moved);
        CHECK(x != Array<float>({2, n}));
    }
    const Array<double> line(3);
    CHECK(line.shape() == Shape{3});
    CHECK(Array<int>().empty());
    CHECK(Array<int>() == Array<int>(0));
    CHECK_THROWS_WITH_AS(Array<float>(-1), "array: a size is negative: -1", Error);
    CHECK_THROWS_WITH_AS(Array<float>({2, -3}), "shape: a size is negative: -3", Error);
    CHECK_THROWS_WITH_AS(Array<float>(std::ptrdiff_t{1} << 31),
                         "array: 2147483648 numbers are too many for one axis", Error);
}

TEST_CASE("an arena keeps as much as was in use at a time, not its blocks' growing sizes") {
    constexpr std::size_t kMebibyte = 1 << 20;
    Arena arena;
    for (int i = 0; i < 4; ++i) arena.allocate(kMebibyte);  // blocks of 1 and 8 MiB
    {
        Arena::Scope scope(arena);
        arena.allocate(kMebibyte);
    }
    arena.allocate(kMebibyte);  // in the place of the last one
    CHECK(arena.capacity() == 9 * kMebibyte);
    arena.reset();
    CHECK(arena.capacity() == 5 * kMebibyte);
}

TEST_CASE("an arena scope gives its memory back") {
    Arena arena;
    arena.allocate(64);
    void* inside = nullptr;
    {
        Arena::Scope scope(arena);
        inside = arena.allocate(64);
    }
    CHECK(arena.allocate(64) == inside);
}

TEST_CASE("an arena that grew in its outermost scope keeps the largest block alone") {
    constexpr std::size_t kMebibyte = 1 << 20;
    Arena arena;
    {
        Arena::Scope scope(arena);
        arena.allocate(kMebibyte);
        arena.allocate(20 * kMebibyte);
        CHECK(arena.capacity() == 21 * kMebibyte);
        std::memset(arena.allocate(kMebibyte), 0, kMebibyte);
    }
    CHECK(arena.capacity() == 160 * kMebibyte);  // eight times 20, of which 1 was touched
    // In a scope inside, what lies before it must stay where it is.
    Arena outer;
    auto* number = static_cast<int*>(outer.allocate(sizeof(int)));
    *number = 7;
    {
        Arena::Scope scope(outer);
        outer.allocate(2 * kMebibyte);
    }
    outer.allocate(kMebibyte);
    CHECK(*number == 7);
}

TEST_SUITE_END();
