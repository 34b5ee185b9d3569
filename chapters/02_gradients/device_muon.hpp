#pragma once
// Muon on a GPU: see muon.cu. Only .cu files include this header.
#include <vector>

#include "02_gradients/muon.hpp"
#include "cuda/device.hpp"

namespace diffusion::cuda {

/// (2.23), (2.24) for all matrices of a model. Matrices of one shape go together.
class DeviceMuon {
public:
    DeviceMuon(const std::vector<Parameter>& matrices, Muon<float>::Options options);

    /// One step, on blocks that lie on the GPU. The gradient is multiplied by min(1, max_norm /
    /// norm), the norm being the root of *sum_of_squares; those of the matrices are set to zero.
    /// The learning rate lies on the GPU, too.
    void step(float* values, float* gradient, float* momentum, const float* sum_of_squares,
              float max_norm, const float* learning_rate);

private:
    struct Group {
        int rows, columns;
        std::vector<std::ptrdiff_t> offsets;
        Buffer<std::ptrdiff_t> on_gpu;
    };
    std::vector<Group> groups_;
    Muon<float>::Options options_;
    Buffer<float> x_, next_, gram_, poly_;
    Buffer<double> squares_, inverse_;
};

}  // namespace diffusion::cuda
