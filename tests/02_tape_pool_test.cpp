// Tapes that are lent to threads.
#include <doctest/doctest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "02_gradients/ops.hpp"
#include "02_gradients/tape_pool.hpp"
#include "support/heap_count.hpp"

using namespace diffusion;

namespace {

/// 2 n in each of `pieces`, by a tape from the pool; where each piece's sum went wrong.
int wrong_sums(TapePool<float>& pool, int pieces, float n) {
    std::atomic<int> wrong = 0;
    parallel_for(pieces, thread_count(), [&](int piece) {
        const TapePool<float>::Lent lent(pool);
        Tape<float>& tape = lent.tape();
        const Tensor<float> x = tape.arena().make<float>({1000 + 50 * piece});
        fill(x, n + static_cast<float>(piece));
        const Tensor<float> y = scale(tape.constant(x), 2.0f).value();
        for (const float v : y) wrong += v == 2 * (n + static_cast<float>(piece)) ? 0 : 1;
    });
    return wrong;
}

}  // namespace

TEST_SUITE_BEGIN("ch02 math");

TEST_CASE("a pool lends a tape to one at a time, and to a thread the one that it had") {
    TapePool<float> pool;
    const Tape<float>* first = nullptr;
    {
        const TapePool<float>::Lent a(pool), b(pool);
        CHECK(&a.tape() != &b.tape());
        first = &a.tape();
    }
    CHECK(pool.size() == 2);
    for (int i = 0; i < 3; ++i) {
        const TapePool<float>::Lent again(pool);
        CHECK(&again.tape() == first);  // it was given back last
    }
    CHECK(pool.size() == 2);
}

TEST_CASE("callers in a parallel loop, and in loops inside it, do not share a tape") {
    TapePool<float> pool;
    CHECK(wrong_sums(pool, 8, 1) == 0);
    std::atomic<int> wrong = 0;
    for (int round = 0; round < 20; ++round)
        parallel_for(4, 4, [&](int caller) {
            wrong += wrong_sums(pool, 3, static_cast<float>(10 * caller));
        });
    // Threads that know nothing of each other; each may start a team of its own.
    std::vector<std::thread> threads;
    for (int caller = 0; caller < 4; ++caller) {
        threads.emplace_back([&, caller] {
            for (int round = 0; round < 20; ++round)
                wrong += wrong_sums(pool, 3, static_cast<float>(10 * caller));
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    const std::size_t size = pool.size();
    CHECK(size <= static_cast<std::size_t>(4 * std::max(4, thread_count())));
    CHECK(wrong_sums(pool, 8, 1) == 0);
    CHECK(pool.size() == size);
}

TEST_CASE("work that is dealt out in the same way takes no memory from the second time on") {
    TapePool<float> pool;
    for (int i = 0; i < 2; ++i) wrong_sums(pool, 8, 1);
    const std::int64_t before = heap_allocations();
    for (int i = 0; i < 5; ++i) wrong_sums(pool, 8, 1);
    CHECK(heap_allocations() == before);
}

TEST_SUITE_END();
