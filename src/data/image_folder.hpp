#pragma once
// Your own pictures: all PNG and JPEG files of one folder, in the order of their names.
#include <filesystem>

#include "data/dataset.hpp"

namespace diffusion {

/// Pictures without labels. Other files, hidden files and subfolders are passed over. Fails when
/// the folder is missing or has no picture, when a picture cannot be read, and when two differ in
/// height, width or channels (the line names both).
Dataset read_image_folder(const std::filesystem::path& folder);

}  // namespace diffusion
