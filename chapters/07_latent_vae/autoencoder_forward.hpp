#pragma once
// The autoencoder, for any kind of number: autoencoder.cpp makes it for the CPU's.
#include "04_unet/unet_forward.hpp"
#include "07_latent_vae/autoencoder.hpp"

namespace diffusion {

template <class T>
Var<T> MiddleBlock::operator()(Var<T> x) const {
    Var<T> h = passed(first, x);
    if (attention) h = passed(*attention, h);
    return passed(second, h);
}

template <class T>
Posterior<T> Autoencoder::encode(Var<T> x) const {
    latent_shape(x.shape());  // fails if there is none
    Var<T> h = encoder_.in(x);
    for (const Level& level : encoder_.levels) {
        for (const ResBlock& block : level.blocks) h = passed(block, h);
        if (level.resample) h = passed(*level.resample, h);
    }
    h = passed(*encoder_.middle, h);
    h = encoder_.out(encoder_.norm.silu(h));
    return posterior_of(quant_ ? (*quant_)(h) : h);
}

template <class T>
Var<T> Autoencoder::decode(Var<T> z) const {
    require(z.shape().rank == 4 && z.size(3) == config_.latent_channels,
            "autoencoder: latents are ", z.shape(), ", expected [N,h,w,", config_.latent_channels,
            "]");
    Var<T> h = decoder_.in(post_quant_ ? (*post_quant_)(z) : z);
    h = passed(*decoder_.middle, h);
    for (const Level& level : decoder_.levels) {
        for (const ResBlock& block : level.blocks) h = passed(block, h);
        if (!level.resample) continue;
        const Var<T> small = h;
        h = (*level.resample)(doubled(small, 2 * small.size(1), 2 * small.size(2)));
        h.tape().done(small);
    }
    return decoder_.out(decoder_.norm.silu(h));
}

}  // namespace diffusion
