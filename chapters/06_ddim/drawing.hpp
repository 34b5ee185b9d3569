#pragma once
// The samplers by name, and pictures in and out of the model's size.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "04_unet/denoising.hpp"
#include "06_ddim/samplers.hpp"
#include "io/image.hpp"

namespace diffusion {

inline constexpr std::array<const char*, 5> kSamplerNames = {"ddpm", "ddim", "euler", "heun",
                                                             "dpmpp2m"};

struct Sampler {
    std::string name = "ddim";  ///< one of kSamplerNames
    double eta = 0.0;           ///< of ddim
    double clip = 1.0;          ///< of the guess of x_0
    std::uint64_t seed = 1;     ///< of fresh noise, where there is any
};

/// Takes x from times.front() to times.back(), in place. Fails on an unknown name.
void run_sampler(const Sampler& sampler, const Denoiser<float>& denoiser, const Schedule& schedule,
                 std::span<const int> times, Tensor<float> x, const Observer<float>& observer = {});

/// Calls of the denoiser that this takes.
int calls_of(const Sampler& sampler, std::span<const int> times);

/// A picture as the model sees pictures: shrunk or enlarged to height x width, grey or coloured,
/// [height,width,channels] in [-1, 1]. `negative` turns black on white into white on black.
void fit_picture(const Image& image, bool negative, Tensor<float> out);

}  // namespace diffusion
