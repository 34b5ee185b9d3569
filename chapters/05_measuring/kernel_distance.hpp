#pragma once
// The kernel distance (maximum mean discrepancy, Gretton et al. 2012; for pictures "KID", Binkowski
// et al. 2018, arXiv:1801.01401): no Gaussians, and no bias.
#include "tensor/tensor.hpp"

namespace diffusion {

struct KernelDistance {
    double value;  ///< of (5.10), with the kernel (5.11); can come out negative
    double error;  ///< standard error, by leaving out a tenth of both sets at a time
};
/// Between the rows of x [N,D] and those of y [M,D]. Both need at least 20.
KernelDistance kernel_distance(Tensor<const float> x, Tensor<const float> y);

}  // namespace diffusion
