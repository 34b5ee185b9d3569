#pragma once
// The loss (4.15) on the tape.
#include "02_gradients/tape.hpp"

namespace diffusion {

template <class T>
struct WeightedError {
    Var<T> loss;          ///< one number: the mean over the samples of weight times error
    Tensor<T> of_sample;  ///< [N]: the mean square of each sample's difference, without its weight
};

/// (4.15) x and target [N, ...], a weight for each sample [N].
template <class T>
WeightedError<T> weighted_mse(Var<T> x, Tensor<T> target, Tensor<T> weight);

}  // namespace diffusion
