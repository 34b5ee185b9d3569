#include "04_unet/unet.hpp"

#include <cmath>

#include "04_unet/unet_forward.hpp"

namespace diffusion {

template <class T>
Tensor<T> timestep_embedding(std::span<const int> t, int width, Arena& arena) {
    require(width > 0 && width % 2 == 0, "timestep_embedding: width is ", width,
            ", expected an even number");
    const int half = width / 2;
    const Tensor<T> embedding = arena.make<T>({static_cast<int>(t.size()), width});
    for (int n = 0; n < embedding.size(0); ++n) {
        // >>> exercise 4.3 points=2 hint="(4.7): cosines first, then sines"
        for (int i = 0; i < half; ++i) {  // (4.7)
            const double angle =
                t[static_cast<std::size_t>(n)] * std::pow(10000.0, -static_cast<double>(i) / half);
            embedding(n, i) = static_cast<T>(std::cos(angle));
            embedding(n, half + i) = static_cast<T>(std::sin(angle));
        }
        // <<<
    }
    return embedding;
}

ResBlock::ResBlock(ParameterList& list, const std::string& name, int inputs, int outputs,
                   int time_width)
    : norm1(list, name + ".norm1", inputs),
      norm2(list, name + ".norm2", outputs),
      conv1(list, name + ".conv1", inputs, outputs, 3),
      conv2(list, name + ".conv2", outputs, outputs, 3, 1, true),
      time(list, name + ".time", time_width, outputs) {
    if (inputs != outputs) skip.emplace(list, name + ".skip", inputs, outputs, 1);
}

AttentionBlock::AttentionBlock(ParameterList& list, const std::string& name, int channels,
                               int heads_)
    : norm(list, name + ".norm", channels),
      qkv(list, name + ".qkv", channels, 3 * channels, 1),
      out(list, name + ".out", channels, channels, 1),
      heads(heads_) {}

UNet::UNet(const UNetConfig& config) : config_(config) {
    require(config.base > 0 && config.base % GroupNorm::kGroups == 0, "unet: base is ", config.base,
            ", expected a multiple of ", GroupNorm::kGroups);
    require(!config.multipliers.empty() && config.channels > 0, "unet: no levels or no channels");
    const int time_width = 4 * config.base;
    time1_ = Linear(list_, "time1", config.base, time_width);
    time2_ = Linear(list_, "time2", time_width, time_width);
    in_ = Conv2d(list_, "in", config.channels, config.base, 3);
    int width = config.base;
    std::vector<int> skips{width};
    const int levels = static_cast<int>(config.multipliers.size());
    for (int i = 0; i < levels; ++i) {
        const int next = config.base * config.multipliers[static_cast<std::size_t>(i)];
        const std::string name = "down." + std::to_string(i);
        Level level;
        for (int b = 0; b < 2; ++b) {
            level.blocks.emplace_back(list_, name + ".block" + std::to_string(b), width, next,
                                      time_width);
            skips.push_back(width = next);
        }
        if (i + 1 < levels) {
            level.resample.emplace(list_, name + ".resample", width, width, 3, 2);
            skips.push_back(width);
        }
        down_.push_back(std::move(level));
    }
    middle1_.emplace(list_, "middle.block1", width, width, time_width);
    require(config.heads > 0 && width % config.heads == 0, "unet: ", width,
            " channels do not fall into ", config.heads, " heads");
    attention_.emplace(list_, "middle.attention", width, config.heads);
    middle2_.emplace(list_, "middle.block2", width, width, time_width);
    for (int i = levels - 1; i >= 0; --i) {
        const int next = config.base * config.multipliers[static_cast<std::size_t>(i)];
        const std::string name = "up." + std::to_string(i);
        Level level;
        for (int b = 0; b < 3; ++b) {
            level.blocks.emplace_back(list_, name + ".block" + std::to_string(b),
                                      width + skips.back(), next, time_width);
            skips.pop_back();
            width = next;
        }
        if (i > 0) level.resample.emplace(list_, name + ".resample", width, width, 3);
        up_.push_back(std::move(level));
    }
    norm_ = GroupNorm(list_, "out.norm", width);
    out_ = Conv2d(list_, "out.conv", width, config.channels, 3, 1, true);
}

#define DIFFUSION_INSTANTIATE(T)                                              \
    template Tensor<T> timestep_embedding(std::span<const int>, int, Arena&); \
    template Var<T> ResBlock::operator()(Joined<T>, Var<T>) const;            \
    template Var<T> AttentionBlock::operator()(Var<T>) const;                 \
    template Var<T> UNet::operator()(Var<T>, std::span<const int>) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
