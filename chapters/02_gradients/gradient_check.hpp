#pragma once
// (2.5) Central differences in double against a tape's gradients.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "02_gradients/ops.hpp"
#include "tensor/random.hpp"

namespace diffusion {

/// An operation f with normal random inputs, its output contracted with a random cotangent w to a
/// loss L = sum w y, and what two ways to ask for the gradients have found.
template <class F>
struct GradientCheck {
    F f;
    std::size_t constant;  ///< the input whose gradient nobody asks for
    Arena memory, arena;
    Tape<double> tape{arena};
    std::vector<Tensor<double>> inputs;
    std::vector<Tensor<double>> before, grads;  ///< gradients that hold numbers already, and then
    std::vector<Tensor<double>> fresh;          ///< gradients that did not exist yet
    std::vector<Var<double>> vars;
    Tensor<double> cotangent;
    std::uint32_t stream = 0;

    GradientCheck(const std::vector<Shape>& shapes, F f_, std::size_t constant_)
        : f(std::move(f_)), constant(constant_) {
        for (const Shape& shape : shapes) inputs.push_back(random(shape));
        for (const Shape& shape : shapes) {
            before.push_back(random(shape));
            grads.push_back(memory.make<double>(shape));
            std::ranges::copy(before.back(), grads.back().begin());
        }
        cotangent = memory.make<double>(output(false).shape());
        fill_normal(cotangent, Random(12, Purpose::test));
    }

    Tensor<double> random(const Shape& shape) {
        const Tensor<double> x = memory.make<double>(shape);
        fill_normal(x, Random(11, Purpose::test, stream++));
        return x;
    }

    Var<double> output(bool with_gradients) {
        tape.reset();
        vars.clear();
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            vars.push_back(
                i == constant ? tape.constant(inputs[i])
                              : tape.leaf(inputs[i], with_gradients ? grads[i] : Tensor<double>()));
        }
        return f(tape, vars);
    }

    double loss() {
        const Tensor<double> y = output(false).value();
        double sum = 0;
        for (std::ptrdiff_t k = 0; k < y.numel(); ++k) sum += cotangent.data()[k] * y.data()[k];
        return sum;
    }

    void ask_with_gradients() { tape.backward(output(true), cotangent); }

    void ask_without_gradients() {
        // The memory that comes next holds no zeros by chance.
        tape.reset();
        fill(arena.make<double>({static_cast<int>(arena.capacity() / sizeof(double))}),
             std::numeric_limits<double>::quiet_NaN());
        tape.backward(output(false), cotangent);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            fresh.push_back(memory.make<double>(inputs[i].shape()));
            if (i != constant) std::ranges::copy(vars[i].grad(), fresh[i].begin());
        }
    }

    /// Of both answers for input i, relative to its largest gradient.
    double error_of(std::size_t i) {
        constexpr double h = 1e-5;
        double error = 0, largest = 1e-3;
        for (std::ptrdiff_t k = 0; i != constant && k < inputs[i].numel(); ++k) {
            double& x = inputs[i].data()[k];
            const double here = x;
            x = here + h;
            const double above = loss();
            x = here - h;
            const double below = loss();
            x = here;
            const double difference = (above - below) / (2 * h);
            for (const double found :
                 {grads[i].data()[k] - before[i].data()[k], fresh[i].data()[k]}) {
                const double off = std::abs(difference - found);
                if (!(off <= error)) error = off;  // so that a NaN counts too
            }
            largest = std::max(largest, std::abs(difference));
        }
        return error / largest;
    }
};

/// Builds y = f(inputs) on normal random inputs, contracts it with a random cotangent, and compares
/// dL/dinput from the tape with (L(x + h) - L(x - h)) / 2h for every element of every input.
/// Returns the largest error, each relative to the largest gradient of its input. f takes
/// (Tape<double>&, const std::vector<Var<double>>&). Input `constant`, if there is one, is one
/// whose gradient nobody asks for.
///
/// The tape is asked twice, for an operation's VJP has two ways to fail: once with gradients that
/// hold random numbers already, to which it must add, and once with gradients that do not exist
/// yet.
template <class F>
double gradient_error(const std::vector<Shape>& shapes, F f, std::size_t constant = SIZE_MAX) {
    GradientCheck<F> check(shapes, std::move(f), constant);
    check.ask_with_gradients();
    check.ask_without_gradients();
    double worst = 0;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const double error = check.error_of(i);
        if (!(error <= worst)) worst = error;  // so that a NaN counts too
    }
    return worst;
}

}  // namespace diffusion
