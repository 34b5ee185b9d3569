#pragma once
// Where a training step's pictures come from, and what goes with them.
#include <cstdint>
#include <functional>
#include <span>

#include "data/dataset.hpp"
#include "tensor/arena.hpp"

namespace diffusion {

/// A part of a step's batch. What a data set does not have is empty.
struct Batch {
    Tensor<float> x0;            ///< [n, ...]: pictures in [-1, 1], or latents
    Tensor<float> tokens;        ///< [n, L, D]: a text, encoded
    Tensor<float> pooled;        ///< [n, P]: one vector for all of it
    Tensor<unsigned char> keep;  ///< [n, L]: 1 for a token, 0 where there is none
    Tensor<int> ids;             ///< [n, L]: the text's token ids, for an encoder that learns along
    Tensor<int> labels;          ///< [n]: a class for each picture
};

/// The same of samples first .. first + count - 1 alone: views of its memory.
Batch part_of(const Batch& batch, int first, int count);
/// What goes with the pictures, alone.
Batch without_pictures(Batch batch);

/// Samples first .. first + count - 1 of a step's batch, in memory of the arena. The result depends
/// on the step and the numbers alone, and several threads may ask at the same time.
using Source = std::function<Batch(Arena& arena, std::int64_t step, int first, int count)>;

struct PictureOptions {
    int batch = 32;
    bool flip = false;  ///< half of the pictures, left to right
    bool labels = false;
    std::uint64_t seed = 1;
};
/// The pictures of a data set, in an endless row of shuffled passes: sample k of step s is number
/// s * batch + k. `data` must outlive the result. Fails on an empty set, and on one without labels
/// if they are asked for.
Source picture_source(const Dataset& data, const PictureOptions& options);

/// Condition dropout: in a share `rate` of the samples all that goes with the picture is replaced
/// by that of `nothing`, a batch of one sample that stands for no condition: an empty text, or a
/// class of its own. Which samples: Random(seed, condition_dropout, step, k). `nothing` is copied.
/// The source fails, at its first call, where `nothing` lacks what it has, or has another shape.
Source drop_conditions(Source source, double rate, const Batch& nothing, std::uint64_t seed);

}  // namespace diffusion
