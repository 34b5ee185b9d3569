#pragma once
// From an encoder's latents to those that a diffusion model sees, whose deviation is 1.
#include "tensor/tensor.hpp"

namespace diffusion {

/// (7.14) scaled = (z - shift) factor, and back: z = scaled / factor + shift.
struct LatentScale {
    double factor = 0.18215;  ///< Stable Diffusion's [scaling_factor]
    double shift = 0;         ///< [shift_factor]
    bool operator==(const LatentScale&) const = default;

    template <class T>
    void apply(Tensor<T> z) const {
        // >>> exercise 7.5 points=1 hint="(7.14): the shift first"
        for (T& v : z) v = static_cast<T>((static_cast<double>(v) - shift) * factor);  // (7.14)
        // <<<
    }
    template <class T>
    void undo(Tensor<T> z) const {
        for (T& v : z) v = static_cast<T>(static_cast<double>(v) / factor + shift);  // (7.14)
    }
};

inline constexpr LatentScale kUnscaled{1, 0};

/// The scale that gives all numbers of some latents together the mean square 1 and, if `centred`,
/// the mean 0. Fails where there is none: on zeros, or if `centred` on numbers that are all the
/// same.
LatentScale measure_scale(Tensor<const float> latents, bool centred);

/// (7.15) What a schedule's signal-to-noise ratio is multiplied by if what is noised has this
/// deviation in place of 1.
inline double snr_factor(double deviation) {
    return deviation * deviation;  // (7.15)
}

}  // namespace diffusion
