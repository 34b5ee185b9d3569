// One call of Stable Diffusion 1.5's UNet and one of its decoder, with random weights: how long
// they take, and how much memory beside the weights. bench/torch/time_stable_diffusion.py times the
// same two calls in diffusers.
#include <cstdio>

#include "07_latent_vae/autoencoder.hpp"
#include "08_text_conditioning/text_block.hpp"
#include "bench.hpp"
#include "io/csv.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

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
