#pragma once
// Whole files in, whole files out. A file is replaced in one step or not at all, so that a run that
// is killed, or a disk that fills up, never leaves half a checkpoint under the name of a good one.
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffusion {

/// Writes a temporary file in the same folder, flushes it to the disk and renames it over `path`. A
/// symbolic link is followed to the file that it names. On failure (folder missing, disk full, ..)
/// the temporary file is removed, the old file stays as it was, and the Error names the path and
/// the system's reason.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

/// The same for bytes that lie in several places: the file has them one after the other.
void write_parts_atomically(const std::filesystem::path& path,
                            std::span<const std::span<const std::byte>> parts);

/// Removes the temporary files that killed programs left in a folder, if it is one.
void remove_leftovers(const std::filesystem::path& folder);

/// The content of a regular file. Error if it is missing, unreadable, or a folder or device.
std::vector<std::byte> read_file(const std::filesystem::path& path);

/// Fails if there is no such file, with the way to get one: "04_unet train makes it".
void require_file(const std::filesystem::path& path, const std::string& made_by);

/// The same bytes seen as characters; valid as long as `bytes` lives.
inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace diffusion
