#pragma once
// An operation on both tapes, the CPU's and the GPU's: its result and all its gradients must agree.
// Only .cu files include this header.
#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "02_gradients/device_ops.hpp"
#include "cuda/stage.hpp"
#include "tensor/random.hpp"

namespace diffusion::cuda {

inline std::vector<float> random_numbers(std::ptrdiff_t n, std::uint32_t stream) {
    std::vector<float> x(static_cast<std::size_t>(n));
    diffusion::fill_normal(Tensor<float>(x.data(), {static_cast<int>(n)}),
                           Random(7, Purpose::test, stream));
    return x;
}

/// x as the tensor cores see it: rounded to 10 bits behind the point (TF32) or 7 (BF16).
inline std::vector<float> rounded(Precision precision, std::vector<float> x) {
    for (float& v : x) {
        if (precision == Precision::fp32) continue;
        const int bits = precision == Precision::tf32 ? 10 : 7;
        int exponent = 0;
        const float share = std::ldexp(std::frexp(v, &exponent), bits + 1);
        v = std::ldexp(precision == Precision::tf32 ? std::round(share) : std::nearbyint(share),
                       exponent - bits - 1);
    }
    return x;
}

/// x[i] = something between -1 and 1, to be timed with: the bits of i, well mixed.
struct Mixed {
    float* x;
    __device__ void operator()(int i) const {
        unsigned bits = static_cast<unsigned>(i) * 2654435761u;
        bits = (bits ^ bits >> 15) * 2246822519u;
        x[i] = static_cast<float>(bits >> 8) / 8388608.0f - 1.0f;
    }
};

/// An operation and its VJP by chapter 2's tape, in float or in double, for inputs of these shapes
/// and a given dy.
template <class T = float>
struct ByTape {
    Arena arena;
    Tape<T> tape{arena};
    std::vector<Var<T>> inputs;
    std::vector<T> y;

    template <class F>
    ByTape(std::vector<std::pair<const std::vector<float>*, Shape>> of,
           const std::vector<float>& dy, F operation) {
        for (const auto& [numbers, shape] : of) {
            const Tensor<T> x = arena.make<T>(shape);
            std::copy(numbers->begin(), numbers->end(), x.begin());
            inputs.push_back(tape.leaf(x));
        }
        const Var<T> out = operation(inputs);
        y.assign(out.value().begin(), out.value().end());
        const Tensor<T> cotangent = arena.make<T>(out.shape());
        std::copy(dy.begin(), dy.end(), cotangent.begin());
        tape.backward_from(mul(out, tape.constant(cotangent)), T(1));
    }
    std::vector<T> gradient(std::size_t i) const {
        const Tensor<T> g = inputs[i].grad();
        return {g.begin(), g.end()};
    }
};

/// Numbers of the host in the memory of a tape, and out of it.
template <class T>
Tensor<T> put(const std::vector<float>& numbers, const Shape& shape, Tape<T>& tape) {
    const Tensor<T> x = tape.numbers().template make<T>(shape);
    if constexpr (std::is_same_v<T, Float>) {
        copy_bytes(raw(x), numbers.data(), numbers.size() * sizeof(float));
        synchronize();
    } else {
        std::copy(numbers.begin(), numbers.end(), x.begin());
    }
    return x;
}
template <class T>
std::vector<T> take(Tensor<T> x) {
    return {x.begin(), x.end()};
}
inline std::vector<float> take(Tensor<Float> x) {
    std::vector<float> numbers(static_cast<std::size_t>(x.numel()));
    copy_bytes(numbers.data(), raw(x), numbers.size() * sizeof(float));
    synchronize();
    return numbers;
}

/// The result of an operation, then the gradients of all its inputs, for random inputs and a random
/// gradient of the result. The gradients begin with none, or with random numbers, to which they are
/// added.
template <class T, class F>
auto result_and_gradients(Tape<T>& tape, const std::vector<Shape>& shapes, bool begun,
                          F operation) {
    const auto random = [&](const Shape& shape, std::uint32_t stream) {
        return put(random_numbers(shape.numel(), stream), shape, tape);
    };
    std::vector<Var<T>> inputs;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const auto stream = static_cast<std::uint32_t>(i);
        const Tensor<T> x = random(shapes[i], stream);
        inputs.push_back(begun ? tape.leaf(x, random(shapes[i], 50 + stream)) : tape.leaf(x));
    }
    const Var<T> y = operation(inputs);
    std::vector<decltype(take(y.value()))> all{take(y.value())};
    tape.backward_from(mul(y, tape.constant(random(y.shape(), 99))), T(1));
    for (const Var<T>& x : inputs) all.push_back(take(x.grad()));
    return all;
}

/// `operation` takes a vector of Var<T>, for T = double and for T = Float. The differences are in
/// units of the root mean square of what is compared.
template <class F>
void compare_on_tapes(Stage& s, const std::string& what, const std::vector<Shape>& shapes,
                      double allowed, F operation) {
    double added = 0;  // the largest difference of a gradient that was added to what was there
    for (const bool begun : {false, true}) {
        Arena arena;
        Tape<double> cpu(arena);
        DeviceTape gpu;
        const auto expected = result_and_gradients(cpu, shapes, begun, operation);
        const auto found = result_and_gradients(gpu.tape, shapes, begun, operation);
        for (std::size_t i = begun ? 1 : 0; i < expected.size(); ++i) {
            double square = 0;
            for (const double v : expected[i]) square += v * v;
            const double unit = std::sqrt(square / static_cast<double>(expected[i].size()));
            const double off = largest_difference(found[i], expected[i]) / unit;
            added = std::max(added, begun ? off : 0);
            if (begun) continue;
            s.check(what + (i == 0 ? ": result" : ": gradient " + std::to_string(i)), off, allowed);
        }
    }
    // The sum is rounded, even where the gradient is a copy.
    s.check(what + ": gradients that are added to", added, std::max(allowed, 2e-7));
}

}  // namespace diffusion::cuda
