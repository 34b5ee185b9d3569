#pragma once
// A small network that learns to predict the noise in points of the plane.
#include <cstdint>
#include <span>

#include "02_gradients/layers.hpp"
#include "03_reverse_process/shapes.hpp"

namespace diffusion {

/// Features of x_t and t [N, 24] to eps [N, 2].
struct NoisePredictor {
    static constexpr int kWidth = 128, kFeatures = 24;
    ParameterList list;
    Linear in{list, "in", kFeatures, kWidth}, middle1{list, "middle1", kWidth, kWidth},
        middle2{list, "middle2", kWidth, kWidth}, out{list, "out", kWidth, 2};

    Var<float> operator()(Var<float> features) const;
};

/// What the network sees of points [N, 2] and their moments: the coordinates, sines and cosines of
/// them at three frequencies (from bare coordinates a network learns fine detail only slowly), t as
/// a part of T, log SNR, and sines and cosines of t. out [N, 24]. Fails where log SNR is not
/// finite.
void features_of(Tensor<const float> x, std::span<const Moment> at, int T, Tensor<float> out);

/// Trains on `steps` batches of fresh points, with the loss (3.9) without its weight. Returns the
/// averaged weights.
Array<float> learn(const NoisePredictor& net, const GaussianMixture& shape,
                   const Schedule& schedule, int steps, std::uint64_t seed);

/// The trained network as a denoiser: x_0 from its eps (3.11). T is that of the training's
/// schedule. The network and what `values` points to must outlive it.
Denoiser<float> learned_denoiser(const NoisePredictor& net, std::span<float> values, int T);

}  // namespace diffusion
