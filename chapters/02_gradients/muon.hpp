#pragma once
// Muon: a step for a weight matrix as a whole (Jordan et al. 2024,
// https://kellerjordan.github.io/posts/muon; Bernstein, Newhouse 2024, arXiv:2409.20325; Liu et al.
// 2025, arXiv:2502.16982).
#include <memory>
#include <span>
#include <vector>

#include "02_gradients/tape.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// (2.23) Replaces x [rows, columns] by a matrix with the same singular vectors and singular values
/// near 1: between 0.68 and 1.21 for those that were at least 0.002 of the Frobenius norm. A matrix
/// of zeros stays one.
template <class T>
void orthogonalize(Tensor<T> x, Arena& scratch);

/// Momentum, orthogonalize, step (2.24): close to the steepest step of (2.22). For the matrices of
/// a model; AdamW is for the rest.
template <class T>
class Muon {
public:
    struct Options {
        double momentum = 0.95;
        double scale = 0.3;  ///< typical step of an entry, as a share of the learning rate
    };

    /// `matrices`: where they lie in the block of `count` parameters. Of a shape [.., C] the last
    /// size counts as columns and all others as rows.
    Muon(std::vector<Parameter> matrices, std::size_t count, Options options);

    /// One step of all matrices, in parallel, with factor times their gradients. Sets these to
    /// zero, so that an AdamW that comes next leaves them alone.
    void step(std::span<T> values, std::span<T> gradient, double learning_rate, double factor = 1);

    /// For checkpoints.
    std::span<T> momentum() { return momentum_; }

private:
    void step_matrix(const Parameter& matrix, std::span<T> values, std::span<T> gradient,
                     double learning_rate, double factor, Arena& arena);

    std::vector<Parameter> matrices_;
    Options options_;
    Array<T> momentum_;
    std::vector<std::unique_ptr<Arena>> arenas_;  // one for each thread
};

}  // namespace diffusion
