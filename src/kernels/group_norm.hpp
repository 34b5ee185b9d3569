#pragma once
// Group norm, and SiLU after it, in one pass over memory. chapters/04_unet/plain_ops.cpp has the
// same as plain loops.
#include "tensor/arena.hpp"

namespace diffusion {

/// What is normalised: an image [N,H,W,A], or two that are read as one [N,H,W,A+B] where they lie.
template <class T>
struct GroupNormInput {
    Tensor<T> a, b;        ///< b may be absent
    Tensor<T> gain, bias;  ///< [C]
    int groups;
    double eps;
    bool silu;

    int channels() const { return a.size(3) + (b ? b.size(3) : 0); }
};

/// What the way back needs. Normalising and then scaling is one line per channel and image,
/// z = scale x + shift.
template <class T>
struct GroupNormLines {
    Tensor<T> scale, shift;   ///< [N,C]
    Tensor<T> mean, inverse;  ///< [N,groups]; inverse = 1 / sqrt(variance + eps)
};

/// Where gradients go; each may be absent. With `add` they are added to what is there.
template <class T>
struct GroupNormGradients {
    Tensor<T> a, b;
    bool add_a = true, add_b = true;
    Tensor<T> gain, bias;  ///< always added to
};

/// How many numbers share a mean: the pixels times the channels of a group of x [N,H,W,C].
std::ptrdiff_t numbers_of_group(const Shape& x, int groups);

/// Writes y [N,H,W,C] and the lines. (4.5)
template <class T>
void group_norm_forward(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, Tensor<T> y,
                        Arena& scratch);

/// The same in two steps, for an image that is read piece by piece: the lines of image n, and then
/// rows first .. first + count - 1 of its y, to memory [count,W,C].
template <class T>
void group_norm_lines(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, int n,
                      Arena& scratch);
template <class T>
void group_norm_rows(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, int n, int first,
                     int count, T* to);

/// (4.6) With SiLU, y is written once more on the way, and dy is lost: it becomes the gradient
/// before SiLU.
template <class T>
void group_norm_vjp(const GroupNormInput<T>& x, const GroupNormLines<T>& lines, Tensor<T> dy,
                    Tensor<T> y, const GroupNormGradients<T>& to, Arena& scratch);

}  // namespace diffusion
