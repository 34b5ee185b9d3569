#pragma once
// A reader's picture as a model sees pictures.
#include "io/image.hpp"
#include "tensor/tensor.hpp"

namespace diffusion {

/// Shrunk or enlarged to height x width by the mean over each pixel's area, grey or coloured,
/// [height,width,channels] in [-1, 1]. `negative` turns black on white into white on black.
void fit_picture(const Image& image, bool negative, Tensor<float> out);

}  // namespace diffusion
