// Which memory the tape gives to later results, and which it keeps.
#include <doctest/doctest.h>

#include <array>

#include "02_gradients/ops.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch02 grad");

TEST_CASE("(2.4) memory that a VJP still reads is not given to the next result") {
    Arena memory, arena;
    Tape<double> tape(arena);
    std::array<double, 3> numbers{1, 2, 3}, w{4, 5, 6}, dw{};
    for (const bool seen_differently : {false, true}) {
        CAPTURE(seen_differently);
        tape.reset();
        dw = {};
        const Var<double> x = scale(tape.constant({numbers.data(), {3}}), 2.0);
        const Var<double> trained = mul(x, tape.leaf({w.data(), {3}}, {dw.data(), {3}}));
        const Var<double> last = seen_differently ? reshape(x, {3, 1}) : x;
        const Var<double> frozen = scale(last, 3.0);  // reads x last, and needs no gradient
        tape.done(last);
        const Var<double> next = scale(tape.constant({numbers.data(), {3}}), 100.0);
        CHECK(frozen.value().data()[2] == 18);
        CHECK(next.value()(2) == 300);
        tape.backward(sum(trained));
        CHECK(dw == std::array<double, 3>{2, 4, 6});
    }
    // Where no VJP was recorded since, the memory is used again, at once.
    tape.reset();
    const Var<double> x = scale(tape.constant({numbers.data(), {3}}), 2.0), y = scale(x, 3.0);
    const double* place = x.value().data();
    tape.done(x);
    CHECK(scale(y, 2.0).value().data() == place);
    // A constant's memory is somebody else's.
    const Var<double> constant = tape.constant({numbers.data(), {3}});
    tape.done(constant);
    CHECK(scale(y, 2.0).value().data() != numbers.data());
}

TEST_CASE("(2.4) of a part of a network, only its result and what its VJPs read stays") {
    Arena memory, arena;
    Tape<double> tape(arena);
    std::array<double, 48> numbers{}, w{}, dw{};
    numbers.fill(2), w.fill(3);
    for (const bool trained : {false, true}) {
        CAPTURE(trained);
        tape.reset();
        dw = {};
        const Var<double> x = tape.constant({numbers.data(), {6, 8}});
        const Var<double> factor = trained ? tape.leaf({w.data(), {6, 8}}, {dw.data(), {6, 8}})
                                           : tape.constant({w.data(), {6, 8}});
        double* inner = nullptr;
        const Var<double> y = tape.result_of([&] {
            const Var<double> six = tape.result_of([&] {
                const Var<double> a = mul(x, factor);  // 6
                inner = a.value().data();
                return reshape(mul(a, a), {8, 6});  // 36, under another shape
            });
            return reshape(mul(six, six), {48});  // 1296
        });
        // Results of other sizes take the memory, parts of it or several joined: 48 numbers each.
        const Var<double> small = scale(tape.constant({numbers.data(), {3, 8}}), 5.0);
        const Var<double> other = scale(tape.constant({numbers.data(), {16}}), 7.0);
        for (const Var<double> result : {small, other}) {
            const bool again =
                result.value().data() >= inner && result.value().data() < inner + 2 * 48;
            CHECK(again == !trained);
        }
        CHECK(y.value()(47) == 1296);
        CHECK(small.value()(2, 7) == 10);
        CHECK(other.value()(15) == 14);
        if (!trained) continue;
        tape.backward(sum(y));
        CHECK(dw[5] == 4 * 2 * 216);  // d (x w)^4 / dw = 4 x (x w)^3
    }
    // A part may give back what it was given.
    tape.reset();
    const Var<double> x = scale(tape.constant({numbers.data(), {48}}), 2.0);
    const Var<double> same = tape.result_of([&] { return x; });
    scale(same, 3.0);
    CHECK(x.value()(0) == 4);
}

TEST_SUITE_END();
