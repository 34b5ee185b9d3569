#pragma once
// One page with the pictures and numbers of every run.
#include <filesystem>

namespace diffusion {

/// Reads out_root/*/run.json in the order of the folders' names and writes out_root/index.html: one
/// file that needs no network, with its style inside and relative links to the pictures. A picture
/// that was deleted is named as missing. Error if there is no run at all, or a run.json is damaged.
void write_gallery(const std::filesystem::path& out_root);

}  // namespace diffusion
