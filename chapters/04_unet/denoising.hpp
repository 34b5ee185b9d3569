#pragma once
// How a network is trained to remove noise, and how a trained one is asked: the loss (4.15) and
// chapter 3's denoiser, for any network, any source of pictures or latents and any objective.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "03_reverse_process/ancestral.hpp"
#include "04_unet/batch.hpp"
#include "04_unet/condition.hpp"
#include "04_unet/objective.hpp"
#include "04_unet/trainer.hpp"
#include "04_unet/weighted_mse.hpp"

namespace diffusion {

namespace cuda {
struct Float;
}

/// How many pictures of `pixels` pixels a core works on at a time: `most`, or fewer where they are
/// large, since the memory of all that lies between input and output grows with both.
inline int pictures_at_a_time(int pixels, int most) {
    constexpr int kMostPixels = 8 * 64 * 64;
    return std::clamp(kMostPixels / std::max(1, pixels), 1, most);
}

/// A network as loss and samplers see it: noised pictures [N, ...], a time for each, in its own
/// unit, and what goes with them, to a tensor like the pictures.
template <class T>
using NetworkOf =
    std::function<Var<T>(Var<T> xt, std::span<const float> t, const Condition<T>& condition)>;
struct Network {
    NetworkOf<float> on_cpu;
    NetworkOf<cuda::Float> on_gpu;  ///< empty in a program without CUDA
};

/// A part of a batch, noised: what the network sees, and what it should say.
template <class T>
struct Noised {
    Tensor<T> xt, wanted;      ///< [n, ...]
    std::span<const float> t;  ///< [n]
    Tensor<T> weight;          ///< [n], w_t of (4.15)
    Condition<T> condition;
};

/// The loss of a network for a noised batch, on the tape's kind of number.
template <class T>
WeightedError<T> network_loss(const NetworkOf<T>& network, Tape<T>& tape, const Noised<T>& noised) {
    const Var<T> guess = network(tape.constant(noised.xt), noised.t, noised.condition);
    return weighted_mse(guess, noised.wanted, noised.weight);  // (4.15)
}

/// How a sample is noised, and what its error counts.
struct Drawn {
    float t;  ///< in the network's unit
    LevelOf<float> level;
    float weight;
};
/// For sample k of a step. Times are stratified: it draws from the k-th of `batch` equally likely
/// intervals, which makes the mean over the batch less noisy (4.15).
Drawn draw_moment(const Objective& objective, int batch, std::uint64_t seed, std::int64_t step,
                  int k);

/// The time that the network was told of each sample of a batch, and the mean square of its
/// prediction's error, without w_t.
struct SampleErrors {
    std::vector<double> t, error;
    explicit SampleErrors(int batch) : t(static_cast<std::size_t>(batch)), error(t.size()) {}
    /// Those of samples first, first + 1, ..
    void take(int first, std::span<const float> times, Tensor<const float> of_sample);
};

/// (4.15) as the trainer wants it. t and noise of sample k of step s depend on the seed, s and k
/// alone. `samples` receives the details of the last step, if given, and must outlive the result.
Trainer::Loss denoising_loss(NetworkOf<float> network, Source source, Objective objective,
                             int batch, std::uint64_t seed, SampleErrors* samples = nullptr);

/// The network's guess of x_0, for the samplers: values are bound to the parameters, and what it
/// says is turned into x_0 (prediction.hpp). Works through a batch in pieces of 8 pictures, or
/// fewer if they are large, in parallel. `condition`, if given, holds what goes with each sample,
/// in the samples' order: tokens, vectors, ids or labels. Its pictures are not read. It and
/// `values` must outlive the result.
Denoiser<float> network_denoiser(NetworkOf<float> network, Prediction prediction,
                                 std::span<float> values, const Batch& condition = {});

}  // namespace diffusion
