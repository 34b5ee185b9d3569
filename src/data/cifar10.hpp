#pragma once
// CIFAR-10 in its "binary version" (Krizhevsky 2009): data_batch_1.bin ... data_batch_5.bin to
// train, test_batch.bin to test. A record is 3073 bytes: a label 0..9, then the red, the green and
// the blue plane of a 32 x 32 picture, rows from top to bottom.
#include <filesystem>

#include "data/dataset.hpp"

namespace diffusion {

/// Where a batch is not there in this form but in that of the "Python version" (data_batch_1,
/// test_batch), that is read.
/// Pictures [N,32,32,3], channels last. The official batches hold 10,000 pictures each; shorter
/// ones are accepted (a set cut for an experiment), and after a batch of fewer than 10,000 the
/// later ones may be absent. A missing batch, a length that is no multiple of 3073, or a label
/// above 9 fails.
Dataset read_cifar10(const std::filesystem::path& folder, bool train);

}  // namespace diffusion
