// Chapter 4's UNet on a GPU: the network of unet_forward.hpp for numbers that lie there.
#include "02_gradients/compare.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/unet_forward.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {

namespace {

/// (4.7)
struct Embed {
    const int* t;
    Divisor half;
    float* embedding;
    __device__ void operator()(int at) const {
        const int i = at % half, n = at / half;
        const double angle = t[n] * pow(10000.0, -static_cast<double>(i) / static_cast<int>(half));
        float* row = embedding + static_cast<std::ptrdiff_t>(n) * 2 * half;
        row[i] = static_cast<float>(cos(angle));
        row[half + i] = static_cast<float>(sin(angle));
    }
};

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

/// Here the times lie on the GPU, too.
template <>
Tensor<Float> timestep_embedding(std::span<const int> t, int width, Arena& arena) {
    require(width > 0 && width % 2 == 0, "timestep_embedding: width is ", width,
            ", expected an even number");
    const Tensor<Float> embedding = arena.make<Float>({static_cast<int>(t.size()), width});
    cuda::for_each_number(embedding.numel() / 2, cuda::Embed{t.data(), width / 2, raw(embedding)});
    return embedding;
}

#define DIFFUSION_CONV2D(In)                                                       \
    template <>                                                                    \
    Var<Float> conv2d(In<Float> x, Var<Float> weight, Var<Float> bias, int stride, \
                      Var<Float> shift, Var<Float> other, bool onto) {             \
        return convolution(x, weight, bias, stride, shift, other, onto);           \
    }
DIFFUSION_CONV2D(Joined)
DIFFUSION_CONV2D(Normed)
DIFFUSION_CONV2D(Upsampled)
#undef DIFFUSION_CONV2D

template Var<Float> UNet::operator()(Var<Float>, std::span<const int>) const;

namespace cuda {
namespace {

/// A module's parameters on both sides, and its operation on both tapes.
void check_operations(Stage& s) {
    const auto images = [](int n, int h, int w, int c) { return Shape{n, h, w, c}; };
    for (const auto& [kernel, stride, in, out, h, w] :
         {std::tuple(3, 1, 8, 12, 7, 5), std::tuple(3, 2, 8, 16, 7, 6),
          std::tuple(1, 1, 12, 8, 3, 3), std::tuple(3, 1, 1, 8, 6, 6),
          std::tuple(3, 1, 8, 3, 5, 4)}) {
        const std::string what = "conv " + std::to_string(kernel) + "x" + std::to_string(kernel) +
                                 " stride " + std::to_string(stride) + ", " + std::to_string(in) +
                                 " to " + std::to_string(out);
        compare_on_tapes(
            s, what, {images(2, h, w, in), {kernel, kernel, in, out}, {out}}, 1e-5,
            [stride = stride](const auto& v) { return conv2d(v[0], v[1], v[2], stride); });
    }
    compare_on_tapes(s, "conv with shift and other",
                     {images(2, 4, 4, 8), {3, 3, 8, 8}, {8}, {2, 8}, images(2, 4, 4, 8)}, 1e-5,
                     [](const auto& v) { return conv2d(v[0], v[1], v[2], 1, v[3], v[4]); });
    compare_on_tapes(s, "conv of two joined images",
                     {images(2, 3, 3, 8), images(2, 3, 3, 4), {1, 1, 12, 8}, {8}}, 1e-5,
                     [](const auto& v) { return conv2d(Joined(v[0], v[1]), v[2], v[3]); });
    compare_on_tapes(s, "conv of a doubled image", {images(2, 3, 2, 8), {3, 3, 8, 8}, {8}}, 1e-5,
                     [](const auto& v) {
                         using T = typename std::decay_t<decltype(v[0].value())>::value_type;
                         return conv2d(Upsampled<T>{v[0], 5, 4}, v[1], v[2]);
                     });
    compare_on_tapes(
        s, "conv of norm and SiLU of joined images",
        {images(2, 3, 3, 8), images(2, 3, 3, 16), {24}, {24}, {3, 3, 24, 8}, {8}}, 3e-5,
        [](const auto& v) {
            using T = typename std::decay_t<decltype(v[0].value())>::value_type;
            return conv2d(Normed<T>{Joined(v[0], v[1]), v[2], v[3], 8, true}, v[4], v[5]);
        });
}

/// The whole network with its gradients, as large as the host executor can bear.
void check_unet(Stage& s, const UNetConfig& config, int images, int size) {
    const UNet unet(config);
    const ParameterList& list = unet.parameters();
    std::vector<float> values(static_cast<std::size_t>(list.block())), gradient(values.size());
    list.initialise<float>(values, 3);
    const std::vector<float> noise = random_numbers(std::ssize(values), 5);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.02f * noise[i];  // no zeros
    const Shape shape{images, size, size, config.channels};
    const std::vector<float> x = random_numbers(shape.numel(), 1),
                             dy = random_numbers(shape.numel(), 2);
    std::vector<int> t;
    for (int i = 0; i < images; ++i) t.push_back(1 + 400 * i);

    const auto run = [&](auto& tape, auto* at_values, auto* at_gradient,
                         std::span<const int> times) {
        using T = std::remove_pointer_t<decltype(at_values)>;
        tape.bind(at_values, at_gradient);
        const Var<T> y = unet(tape.constant(put(x, shape, tape)), times);
        std::vector<float> out = take(y.value());
        tape.backward_from(mul(y, tape.constant(put(dy, shape, tape))), T(1));
        return out;
    };
    Arena arena;
    Tape<float> cpu(arena);
    const std::vector<float> expected =
        run(cpu, values.data(), gradient.data(), std::span<const int>(t));
    DeviceTape gpu;
    const auto on_values = Buffer<float>::of(values),
               on_gradient = Buffer<float>::of(std::vector<float>(values.size()));
    const auto on_t = Buffer<int>::of(t);
    const std::int64_t before = launch_count();
    const std::vector<float> found =
        run(gpu.tape, as_device(on_values.data()), as_device(on_gradient.data()),
            std::span<const int>(on_t.data(), on_t.size()));
    s.say("  launches, forward and backward", launch_count() - before);
    s.check("UNet, base " + std::to_string(config.base) + ": result",
            largest_difference(found, expected), 2e-4);
    double square = 0;
    for (const float g : gradient) square += static_cast<double>(g) * static_cast<double>(g);
    s.check("  its gradients, in units of their root mean square",
            largest_difference(on_gradient.download(), gradient) /
                std::sqrt(square / static_cast<double>(list.count())),
            2e-3);
}

void stage(Stage& s) {
    check_operations(s);
    check_unet(s, {1, 8, {1, 2, 2}, 2}, 2, 8);
}
const StageOfChapter registered("04", "the UNet", stage);

}  // namespace
}  // namespace cuda
}  // namespace diffusion
