#pragma once
// Distances between all points of two sets, and what follows from the nearest ones.
#include <functional>
#include <span>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

/// Calls visit(i, d) for every row i of x [N,D], with d[j] the squared distance to row j of y [M,D]
/// (5.12). Several threads call at the same time, each row once.
void for_each_row_of_distances(Tensor<const float> x, Tensor<const float> y,
                               const std::function<void(int i, std::span<const float> d)>& visit);

/// The k nearest rows of y for every row of x.
struct Neighbours {
    int k = 0;
    std::vector<int> index;       ///< [N,k], nearest first
    std::vector<float> distance;  ///< [N,k], not squared

    float nearest(int i) const {
        return distance[static_cast<std::size_t>(i) * static_cast<std::size_t>(k)];
    }
};
/// With `same`, x and y are one set, and no point is its own neighbour. Fails if y has too few.
Neighbours nearest_neighbours(Tensor<const float> x, Tensor<const float> y, int k,
                              bool same = false);

/// Which share of one set lies where the other one has points (Kynkaanniemi et al. 2019,
/// arXiv:1904.06991). A set covers the balls around its points that reach to their k-th neighbours.
struct PrecisionRecall {
    double precision;  ///< share of the samples that the real points cover (5.13)
    double recall;     ///< share of the real points that the samples cover
};
PrecisionRecall precision_recall(Tensor<const float> samples, Tensor<const float> real, int k = 3);

}  // namespace diffusion
