#pragma once
// A trained network over many pictures or latents, on all cores.
#include <algorithm>
#include <span>

#include "02_gradients/tape_pool.hpp"
#include "04_unet/denoising.hpp"
#include "kernels/threads.hpp"

namespace diffusion {

/// Calls f(first, part) for pieces of x [N, ...] in parallel: each is a constant on a tape to which
/// the values are bound, and holds x[first] and what follows. `pixels`: of a picture, on which the
/// size of a piece depends.
template <class F>
void in_pieces(std::span<float> values, Tensor<const float> x, int pixels, F f) {
    constexpr int kMost = 4;
    const int count = x.size(0), threads = in_parallel() ? 1 : thread_count(),
              size =
                  std::clamp((count + threads - 1) / threads, 1, pictures_at_a_time(pixels, kMost));
    TapePool<float> tapes;
    parallel_for((count + size - 1) / size, threads, [&](int piece) {
        const TapePool<float>::Lent lent(tapes);
        Tape<float>& tape = lent.tape();
        tape.bind(values.data());
        const int first = piece * size;
        Shape shape = x.shape();
        shape.n[0] = std::min(size, count - first);
        const Tensor<float> part = tape.arena().make<float>(shape);
        std::copy_n(x[first].data(), part.numel(), part.data());
        f(first, tape.constant(part));
    });
}

}  // namespace diffusion
