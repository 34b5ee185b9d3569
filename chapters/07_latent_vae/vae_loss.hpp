#pragma once
// What an autoencoder is trained with: the evidence bound (7.2), per number of the picture.
#include <cstdint>
#include <functional>
#include <memory>

#include "04_unet/batch.hpp"
#include "04_unet/trainer.hpp"
#include "07_latent_vae/autoencoder.hpp"

namespace diffusion {

namespace cuda {
class DeviceLoss;  // 04_unet/gpu_batch.hpp
}

/// (7.10) (7.11) The mean over pictures of (squared error + weight kl) / D, where D is the number
/// of values in a picture; weight is 2 sigma^2. x and decoded [N,H,W,C], kl [N]; one number.
template <class T>
Var<T> autoencoder_loss(Var<T> decoded, Tensor<std::type_identity_t<T>> x, Var<T> kl,
                        double weight);

/// (7.18) The mean over all values of |x - decoded|; one number. Its gradient is the sign, and 0
/// where both are the same.
template <class T>
Var<T> absolute_error(Var<T> decoded, Tensor<std::type_identity_t<T>> x);

/// (7.12) The weight of a KL that is a mean over the d numbers of a latent, beside an error that is
/// a mean over the D values of a picture, for the weight of one that is a sum.
inline double weight_of_mean(double weight, std::int64_t d, std::int64_t D) {
    // >>> exercise 7.4 points=1 hint="(7.12): both are the same sum, in two units"
    return weight * static_cast<double>(d) / static_cast<double>(D);  // (7.12)
    // <<<
}

/// (7.11), and `absolute` times (7.18) where that is not 0, as the trainer wants it: the source's
/// pictures are encoded, a latent is drawn for each, and that is decoded. The noise of sample k of
/// step s depends on the seed, s and k alone. The autoencoder must outlive the result.
Trainer::Loss autoencoder_task(const Autoencoder& autoencoder, Source source, double weight,
                               std::uint64_t seed, double absolute = 0);

/// (7.11) on a GPU. vae.cu defines it, and without_cuda.cpp where there is none.
std::function<std::shared_ptr<cuda::DeviceLoss>()> autoencoder_on_gpu(
    const Autoencoder& autoencoder, Source source, double weight, int batch, std::uint64_t seed);

}  // namespace diffusion
