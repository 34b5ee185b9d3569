#pragma once
// The forward process: noise goes in, one step at a time, many steps at once, or with no shrinking
// at all. T is float or double. Tensors have any rank from 1 to 4 and one common shape. The output
// may be the same memory as an input.
#include <span>
#include <type_traits>

#include "01_forward_noising/schedule.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// An argument that is only read; T is then deduced from the output alone, so that Tensor<float> is
/// accepted too.
template <class T>
using In = std::type_identity_t<Tensor<const T>>;

/// One step of the chain, x_{t-1} -> x_t (1.2). eps holds fresh N(0, 1) numbers. Fails unless t is
/// in 1..T.
template <class T>
void q_step(In<T> before, int t, In<T> eps, const Schedule& schedule, Tensor<T> xt);

/// x_t straight from x_0 (1.4): sample n of the batch [N, ...] is noised to its own time t[n] in
/// 0..T. Fails if the shapes differ, if t has not N entries, or if a time is out of range.
template <class T>
void q_sample(In<T> x0, std::span<const int> t, In<T> eps, const Schedule& schedule, Tensor<T> xt);

/// Mean factor and standard deviation of a Gaussian step: x_later = scale * x_earlier + sigma *
/// eps.
struct Jump {
    double scale = 1.0;
    double sigma = 0.0;
};

/// q(x_t | x_s) for 0 <= s < t <= T (1.9). Fails on other times.
Jump q_between(const Schedule& schedule, int s, int t);

/// One step of the variance-exploding chain (1.6): the noise level rises from sigma_before to
/// sigma_after, and the picture is not shrunk. Song and Ermon 2019, arXiv:1907.05600. Fails unless
/// 0 <= sigma_before <= sigma_after.
template <class T>
void ve_step(In<T> before, double sigma_before, double sigma_after, In<T> eps, Tensor<T> x);

/// The change of variables from the variance-preserving x_t to the variance-exploding one (1.8).
/// Fails where alpha_bar[t] = 0: pure noise has no picture left to scale up.
template <class T>
void to_variance_exploding(In<T> xt, int t, const Schedule& schedule, Tensor<T> x);

}  // namespace diffusion
