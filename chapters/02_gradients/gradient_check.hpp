#pragma once
// (2.5) Central differences in double against a tape's gradients.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "02_gradients/ops.hpp"
#include "tensor/random.hpp"

namespace diffusion {

/// Builds y = f(inputs) on normal random inputs, contracts it with a random cotangent, and compares
/// dL/dinput from the tape with (L(x + h) - L(x - h)) / 2h for every element of every input.
/// Returns the largest error, relative to the largest gradient. f takes (Tape<double>&, const
/// std::vector<Var<double>>&). Input `constant`, if there is one, is one whose gradient nobody asks
/// for.
template <class F>
double gradient_error(const std::vector<Shape>& shapes, F f, std::size_t constant = SIZE_MAX) {
    constexpr double h = 1e-5;
    Arena memory, arena;
    std::vector<Tensor<double>> inputs, grads;
    std::uint32_t stream = 0;
    for (const Shape& shape : shapes) {
        inputs.push_back(memory.make<double>(shape));
        grads.push_back(memory.zeros<double>(shape));
        fill_normal(inputs.back(), Random(11, Purpose::test, stream++));
    }
    Tape<double> tape(arena);
    const auto loss = [&] {
        tape.reset();
        std::vector<Var<double>> vars;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            vars.push_back(i == constant ? tape.constant(inputs[i])
                                         : tape.leaf(inputs[i], grads[i]));
        }
        Var<double> y = f(tape, vars);
        const Tensor<double> weights = arena.make<double>(y.shape());
        fill_normal(weights, Random(12, Purpose::test));
        Var<double> product = mul(y, tape.constant(weights));
        double total = 0;
        for (double v : product.value()) total += v;
        return std::pair(product, total);
    };
    tape.backward_from(loss().first, 1.0);
    double error = 0, largest = 1e-3;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        for (std::ptrdiff_t k = 0; i != constant && k < inputs[i].numel(); ++k) {
            double& x = inputs[i].data()[k];
            const double before = x;
            x = before + h;
            const double above = loss().second;
            x = before - h;
            const double below = loss().second;
            x = before;
            const double difference = (above - below) / (2 * h);
            const double off = std::abs(difference - grads[i].data()[k]);
            if (!(off <= error)) error = off;  // so that a NaN counts too
            largest = std::max(largest, std::abs(difference));
        }
    }
    return error / largest;
}

}  // namespace diffusion
