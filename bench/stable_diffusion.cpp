// One call of Stable Diffusion 1.5's UNet and one of its decoder, with random weights: how long
// they take, and how much memory beside the weights. The transformer blocks are chapter 8's; here
// they are the list of their layers, in order. bench/torch/time_stable_diffusion.py times the same
// two calls in diffusers.
#include <cstdio>

#include "04_unet/unet_forward.hpp"
#include "07_latent_vae/autoencoder.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

/// The layers of a transformer block that reads a text, on pixels [N,H,W,C]. Linear layers of
/// pixels are convolutions with K = 1, which add what there was before in the same pass.
struct TextBlock {
    struct LayerNorm {
        Parameter gain, bias;
        LayerNorm(ParameterList& list, const std::string& name, int channels)
            : gain(list.add(name + ".weight", {channels}, Layout::plain, Init::constant(1))),
              bias(list.add(name + ".bias", {channels}, Layout::plain, Init::constant(0))) {}
        template <class T>
        Var<T> operator()(Var<T> x) const {
            return layer_norm(x, x.tape().parameter(gain), x.tape().parameter(bias));
        }
    };
    static constexpr double kEps = 1e-6;

    TextBlock(ParameterList& list, const std::string& name, int channels, int heads_,
              const UNetConfig& config)
        : norm(list, name + ".norm", channels, config.groups, kEps),
          norm1(list, name + ".norm1", channels),
          norm2(list, name + ".norm2", channels),
          norm3(list, name + ".norm3", channels),
          in(list, name + ".proj_in", channels, channels, 1),
          q1(pixels(list, name + ".attn1.to_q", channels, channels, false)),
          k1(pixels(list, name + ".attn1.to_k", channels, channels, false)),
          v1(pixels(list, name + ".attn1.to_v", channels, channels, false)),
          out1(pixels(list, name + ".attn1.to_out", channels, channels)),
          q2(pixels(list, name + ".attn2.to_q", channels, channels, false)),
          out2(pixels(list, name + ".attn2.to_out", channels, channels)),
          wide(pixels(list, name + ".ff.net.0.proj", channels, 8 * channels)),
          narrow(pixels(list, name + ".ff.net.2", 4 * channels, channels)),
          out(list, name + ".proj_out", channels, channels, 1),
          k2(list, name + ".attn2.to_k", config.cross_width, channels, false),
          v2(list, name + ".attn2.to_v", config.cross_width, channels, false),
          heads(heads_) {}

    template <class T>
    Var<T> operator()(Var<T> x, const Condition<T>& condition) const {
        const Shape tokens{x.size(0), x.size(1) * x.size(2), x.size(3)};
        const auto attend = [&](Var<T> q, Var<T> k, Var<T> v) {
            return reshape(attention(reshape(q, tokens), k, v, {.heads = heads}), x.shape());
        };
        Tape<T>& tape = x.tape();
        const auto step = [&](Var<T>& h, auto part) {  // h += part(h)
            const Var<T> y = tape.result_of(part);
            tape.done(h);
            h = y;
        };
        Var<T> h = passed(in, norm(x));
        step(h, [&] {
            const Var<T> n = norm1(h);
            return out1(attend(q1(n), reshape(k1(n), tokens), reshape(v1(n), tokens)),
                        {.image = h});
        });
        step(h, [&] {
            const Var<T> text = condition.tokens;
            return out2(attend(q2(norm2(h)), k2(text), v2(text)), {.image = h});
        });
        step(h, [&] {
            return pixels_at_a_time(h, 8 * h.size(3), [&](Var<T> some) {
                const Var<T> gated =
                    passed([](Var<T> w) { return geglu(w); }, passed(wide, norm3(some)));
                return narrow(gated, {.image = some});
            });
        });
        return out(h, {.image = x});
    }

    static Conv2d pixels(ParameterList& list, const std::string& name, int inputs, int outputs,
                         bool bias = true) {
        return Conv2d::of_pixels(list, {name}, inputs, outputs, bias);
    }

    GroupNorm norm;
    LayerNorm norm1, norm2, norm3;
    Conv2d in, q1, k1, v1, out1, q2, out2, wide, narrow, out;
    Linear k2, v2;
    int heads;
};

using TextUNet = UNetOf<TextBlock>;

UNetConfig unet_of_stable_diffusion() {
    UNetConfig config;
    config.in_channels = config.out_channels = 4;
    config.channels = {320, 640, 1280, 1280};
    config.groups = 32;
    config.heads = {8};
    config.attention = {true, true, true, false};
    config.cross_width = 768;
    return config;
}
AutoencoderConfig autoencoder_of_stable_diffusion() {
    AutoencoderConfig config;
    config.channels = {128, 256, 512, 512};
    config.blocks = 2;
    config.groups = 32;
    return config;
}

/// Times call(tape), which reads a model's weights, numbers of type N, and weighs what it needs
/// beside them.
template <class N, class Call>
void row(Table& table, const std::string& name, double gflop, const ParameterList& list,
         Call call) {
    auto weights = Array<N>::uninitialised(list.block());
    list.initialise<N>(weights, 1);
    const double of_weights = static_cast<double>(list.block()) * sizeof(N) / (1 << 20);
    OwnTape<float> own;
    std::vector<double> times;
    for (int i = 0; i < 4; ++i) {
        own.tape.reset();
        own.tape.bind(weights.data());
        const auto start = Clock::now();
        call(own.tape);
        if (i > 0) times.push_back(seconds_since(start));
    }
    const double seconds = median(times), megabytes = peak_memory() - of_weights;
    std::printf("%-60s%12ld%10.2f%10.0f%12.0f\n", name.c_str(), static_cast<long>(list.count()),
                seconds, gflop / seconds, megabytes);
    std::fflush(stdout);
    table.row({name, std::to_string(list.count()), shortest(seconds), shortest(gflop / seconds),
               shortest(megabytes)});
}

Var<float> noise(Tape<float>& tape, Shape shape) {
    const Tensor<float> x = tape.arena().make<float>(shape);
    fill_normal(x, Random(1, Purpose::test));
    return tape.constant(x);
}

}  // namespace

void bench_stable_diffusion(const std::filesystem::path& folder) {
    Table table(folder / "stable_diffusion.csv", "name,parameters,seconds,gflops,mib");
    std::printf("%-60s%12s%10s%10s%12s\n", "Stable Diffusion 1.5, random weights", "parameters",
                "seconds", "GFLOP/s", "MiB beside");
    constexpr double kUNet = 803.3, kDecoder = 2514;  // GFLOP of one picture
    // The peak is that of the process, so the smaller model comes first.
    {
        ParameterList list;
        const Autoencoder autoencoder(list, "", autoencoder_of_stable_diffusion());
        row<float>(table, "decoder, a picture of 512 x 512", kDecoder, list,
                   [&](Tape<float>& tape) {
                       autoencoder.decode(noise(tape, {1, 64, 64, 4}));
                   });
    }
    ParameterList list;
    const TextUNet unet(list, "", unet_of_stable_diffusion());
    const auto both_batches = [&]<class N>(N, const char* how) {
        for (const int batch : {1, 2}) {
            const std::string name =
                "UNet, latents " + std::to_string(batch) + " x 64 x 64, 77 tokens" + how;
            row<N>(table, name, kUNet * batch, list, [&](Tape<float>& tape) {
                const std::vector<float> t(static_cast<std::size_t>(batch), 500);
                unet(noise(tape, {batch, 64, 64, 4}), t, {.tokens = noise(tape, {batch, 77, 768})});
            });
        }
    };
    both_batches(Half(), ", weights in half precision");
    both_batches(float(), "");
    std::printf("\n");
}

}  // namespace diffusion
