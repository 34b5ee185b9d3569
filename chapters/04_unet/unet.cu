// Chapter 4's UNet on a GPU: the network of unet_forward.hpp for numbers that lie there.
#include "02_gradients/compare.hpp"
#include "04_unet/conv.hpp"
#include "04_unet/unet_forward.hpp"
#include "cuda/reduce.hpp"

namespace diffusion::cuda {

namespace {

/// (4.7)
struct Embed {
    const float* t;
    Divisor half;
    int cosines, sines;  ///< where they begin in a row
    double period, divisor;
    float* embedding;
    __device__ void operator()(int at) const {
        const int i = at % half, n = at / half;
        const double angle = static_cast<double>(t[n]) * pow(period, -i / divisor);
        float* row = embedding + static_cast<std::ptrdiff_t>(n) * 2 * half;
        row[cosines + i] = static_cast<float>(cos(angle));
        row[sines + i] = static_cast<float>(sin(angle));
    }
};

}  // namespace
}  // namespace diffusion::cuda

namespace diffusion {

using cuda::Float;
using cuda::raw;

/// Here the times lie on the GPU, too.
template <>
Tensor<Float> timestep_embedding(std::span<const float> t, int width, const TimeEmbedding& how,
                                 Arena& arena) {
    require(width > 0 && width % 2 == 0, "timestep_embedding: width is ", width,
            ", expected an even number");
    const int half = width / 2, cosines = how.cosine_first ? 0 : half;
    const Tensor<Float> embedding = arena.make<Float>({static_cast<int>(t.size()), width});
    cuda::for_each_number(embedding.numel() / 2,
                          cuda::Embed{t.data(), half, cosines, half - cosines, how.period,
                                      half - how.shift, raw(embedding)});
    return embedding;
}

template Var<Float> conv2d(ConvInput<Float>, Var<Float>, Var<Float>, ConvOptions, Added<Float>);
template Var<Float> group_norm(Var<Float>, const Norm<Float>&);
template Var<Float> UNet::operator()(Var<Float>, std::span<const float>,
                                     const Condition<Float>&) const;

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
                     [](const auto& v) {
                         return conv2d(v[0], v[1], v[2], 1, {v[3], v[4]});
                     });
    compare_on_tapes(s, "conv with long sums in parts, shift and other",
                     {images(2, 4, 4, 64), {3, 3, 64, 64}, {64}, {2, 64}, images(2, 4, 4, 64)},
                     3e-5, [](const auto& v) {
                         return conv2d(v[0], v[1], v[2], 1, {v[3], v[4]});
                     });
    compare_on_tapes(s, "conv of two joined images",
                     {images(2, 3, 3, 8), images(2, 3, 3, 4), {1, 1, 12, 8}, {8}}, 1e-5,
                     [](const auto& v) { return conv2d(ConvInput(v[0], v[1]), v[2], v[3]); });
    compare_on_tapes(s, "conv of a doubled image", {images(2, 3, 2, 8), {3, 3, 8, 8}, {8}}, 1e-5,
                     [](const auto& v) { return conv2d(doubled(v[0], 5, 4), v[1], v[2]); });
    compare_on_tapes(s, "conv with zeros after the image, without a bias",
                     {images(2, 6, 5, 8), {3, 3, 8, 12}}, 1e-5, [](const auto& v) {
                         return conv2d(v[0], v[1], {}, {2, Padding::after});
                     });
    compare_on_tapes(s, "conv without a bias, with shift",
                     {images(2, 4, 4, 8), {3, 3, 8, 8}, {2, 8}}, 1e-5,
                     [](const auto& v) { return conv2d(v[0], v[1], {}, 1, {v[2]}); });
    compare_on_tapes(s, "conv of norm and SiLU of joined images",
                     {images(2, 3, 3, 8), images(2, 3, 3, 16), {24}, {24}, {3, 3, 24, 8}, {8}},
                     3e-5, [](const auto& v) {
                         using T = typename std::decay_t<decltype(v[0].value())>::value_type;
                         return conv2d(
                             normed(ConvInput(v[0], v[1]), Norm<T>{v[2], v[3], 8, 1e-5, true}),
                             v[4], v[5]);
                     });
}

/// The whole network with its gradients, as large as the host executor can bear.
void check_unet(Stage& s, const UNetConfig& config, int images, int size) {
    ParameterList list;
    const UNet unet(list, "", config);
    std::vector<float> values(static_cast<std::size_t>(list.block())), gradient(values.size());
    list.initialise<float>(values, 3);
    const std::vector<float> noise = random_numbers(std::ssize(values), 5);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.02f * noise[i];  // no zeros
    const Shape shape{images, size, size, config.in_channels};
    const std::vector<float> x = random_numbers(shape.numel(), 1),
                             dy = random_numbers(shape.numel(), 2);
    std::vector<float> t;
    std::vector<int> labels;
    for (int i = 0; i < images; ++i) {
        t.push_back(static_cast<float>(1 + 400 * i));
        if (config.classes > 0) labels.push_back(config.classes - 1 - i);
    }

    const auto run = [&](auto& tape, auto* at_values, auto* at_gradient,
                         std::span<const float> times, std::span<const int> classes) {
        using T = std::remove_pointer_t<decltype(at_values)>;
        tape.bind(at_values, at_gradient);
        const Var<T> y = unet(tape.constant(put(x, shape, tape)), times, {.labels = classes});
        std::vector<float> out = take(y.value());
        tape.backward_from(mul(y, tape.constant(put(dy, shape, tape))), T(1));
        return out;
    };
    Arena arena;
    Tape<float> cpu(arena);
    const std::vector<float> expected = run(cpu, values.data(), gradient.data(), t, labels);
    DeviceTape gpu;
    const auto on_values = Buffer<float>::of(values),
               on_gradient = Buffer<float>::of(std::vector<float>(values.size()));
    const auto on_t = Buffer<float>::of(t);
    const auto on_labels = Buffer<int>::of(labels);
    const std::int64_t before = launch_count();
    const std::vector<float> found =
        run(gpu.tape, as_device(on_values.data()), as_device(on_gradient.data()),
            {on_t.data(), on_t.size()}, {on_labels.data(), on_labels.size()});
    s.say("  launches, forward and backward", launch_count() - before);
    s.check("UNet, " + std::to_string(config.levels()) + " levels: result",
            largest_difference(found, expected), 2e-4);
    double square = 0;
    for (const float g : gradient) square += static_cast<double>(g) * static_cast<double>(g);
    s.check("  its gradients, in units of their root mean square",
            largest_difference(on_gradient.download(), gradient) /
                std::sqrt(square / static_cast<double>(list.count())),
            2e-3);
}

}  // namespace

void unet_stage(Stage& s) {
    check_operations(s);
    check_unet(s, unet_config(1, 8, {1, 2, 2}, 2), 2, 8);
    UNetConfig other = unet_config(2, 8, {1, 2}, 2);  // each setting another than the default
    other.blocks = 1;
    other.attention = {true, false};
    other.padding = Padding::after;
    other.time = {false, 1, 500};
    other.classes = 3;
    check_unet(s, other, 2, 6);
}

}  // namespace cuda
}  // namespace diffusion
