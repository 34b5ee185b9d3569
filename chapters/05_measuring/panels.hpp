#pragma once
// Pictures of what was measured, for a run's folder.
#include <string>
#include <vector>

#include "05_measuring/scores.hpp"
#include "io/image.hpp"
#include "io/run_folder.hpp"

namespace diffusion {

/// The numbers 0 .. n - 1.
std::vector<int> first(int n);

/// Some pictures of a set in rows.
Image show(const Dataset& data, const std::vector<int>& which, int columns, int zoom = 2);

/// The samples of which the judge is least sure. `prefix` of the files' names, here and below: what
/// `score` writes must not replace the experiment's pictures.
void show_unsure(RunFolder& folder, const std::string& prefix, const Dataset& samples,
                 const Predictions& predictions);

/// Some samples beside their nearest training pictures, and all distances.
void show_neighbours(RunFolder& folder, const std::string& prefix, const Reference& r,
                     const Dataset& samples, const Predictions& predictions);

}  // namespace diffusion
