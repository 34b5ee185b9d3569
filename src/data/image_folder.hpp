#pragma once
// Your own pictures: all PNG and JPEG files of one folder, in the order of their names.
#include <filesystem>
#include <vector>

#include "data/dataset.hpp"

namespace diffusion {

/// Its pictures' files, in the order of their names. Other files, hidden files and subfolders are
/// passed over. Fails when the folder is missing or has no picture.
std::vector<std::filesystem::path> picture_files(const std::filesystem::path& folder);

/// Pictures without labels, and with captions if there are any (captions.hpp). Fails, besides, when
/// a picture cannot be read, and when two differ in height, width or channels (the line names
/// both).
Dataset read_image_folder(const std::filesystem::path& folder);

}  // namespace diffusion
