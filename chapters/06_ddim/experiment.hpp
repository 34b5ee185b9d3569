#pragma once
// What chapter 6's program does without a subcommand.
#include "06_ddim/runs.hpp"

namespace diffusion {

/// Orders of convergence; quality against steps; strips of all that the subcommands do.
void run_experiment(const CommonOptions& common, const DrawSettings& draw, const Device& device);

}  // namespace diffusion
