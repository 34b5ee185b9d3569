#include "07_latent_vae/preview.hpp"

#include <Eigen/Dense>

#include "tensor/check.hpp"

namespace diffusion {

Array<float> Preview::operator()(Tensor<const float> latents) const {
    require(latents.rank() == 4 && latents.size(3) == channels, "preview: latents are ",
            latents.shape(), ", expected [N,h,w,", channels, "]");
    Array<float> pictures({latents.size(0), latents.size(1), latents.size(2), colours});
    const Tensor<const float> from = latents.rows();
    const Tensor<float> to = pictures.tensor().rows();
    for (int p = 0; p < from.size(0); ++p)
        for (int c = 0; c < colours; ++c) {
            double sum = bias[static_cast<std::size_t>(c)];
            for (int k = 0; k < channels; ++k)
                sum += weight[static_cast<std::size_t>(c * channels + k)] *
                       static_cast<double>(from(p, k));
            to(p, c) = static_cast<float>(sum);
        }
    return pictures;
}

Preview fit_preview(Tensor<const float> latents, Tensor<const float> pictures) {
    require(latents.rank() == 4 && pictures.rank() == 4 && latents.size(0) == pictures.size(0) &&
                pictures.size(1) % latents.size(1) == 0 && pictures.size(2) % latents.size(2) == 0,
            "fit_preview: latents are ", latents.shape(), ", pictures ", pictures.shape());
    const int channels = latents.size(3), colours = pictures.size(3),
              tall = pictures.size(1) / latents.size(1), wide = pictures.size(2) / latents.size(2);
    // The normal equations A^T A W = A^T B of the rows (z, 1) and their mean colours.
    Eigen::MatrixXd square = Eigen::MatrixXd::Zero(channels + 1, channels + 1),
                    product = Eigen::MatrixXd::Zero(channels + 1, colours);
    Eigen::VectorXd z(channels + 1), colour(colours);
    for (int n = 0; n < latents.size(0); ++n)
        for (int h = 0; h < latents.size(1); ++h)
            for (int w = 0; w < latents.size(2); ++w) {
                for (int k = 0; k < channels; ++k) z(k) = static_cast<double>(latents(n, h, w, k));
                z(channels) = 1;
                colour.setZero();
                for (int i = 0; i < tall * wide; ++i)
                    for (int c = 0; c < colours; ++c)
                        colour(c) += static_cast<double>(
                                         pictures(n, tall * h + i / wide, wide * w + i % wide, c)) /
                                     (tall * wide);
                square += z * z.transpose();
                product += z * colour.transpose();
            }
    const Eigen::MatrixXd solution =
        square.completeOrthogonalDecomposition().solve(product);  // (7.16)
    Preview preview{channels, colours, {}, {}};
    for (int c = 0; c < colours; ++c) {
        for (int k = 0; k < channels; ++k) preview.weight.push_back(solution(k, c));
        preview.bias.push_back(solution(channels, c));
    }
    return preview;
}

}  // namespace diffusion
