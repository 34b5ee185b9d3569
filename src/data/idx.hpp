#pragma once
// IDX, the file format of MNIST and Fashion-MNIST: two zero bytes, a type (8 = unsigned byte), the
// number of sizes, each size as four bytes with the highest first, then the values.
// Plain or gzip; which of the two is read from the content, because browsers unpack downloads
// without changing their names.
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace diffusion {

struct IdxArray {
    std::vector<int> shape;  ///< outermost first
    std::vector<std::uint8_t> bytes;
};

/// Pictures: shape [N,H,W] or [N,H,W,C], every size at least 1.
/// Any file that is not exactly this (missing, empty, cut short, corrupt, too long, of another
/// kind, or promising more bytes than it has) fails with one line that names the file, the place
/// and what was expected. Memory is taken only for bytes that are really there.
IdxArray read_idx_images(const std::filesystem::path& path);

/// Labels: shape [N]. Fails like read_idx_images.
std::vector<std::uint8_t> read_idx_labels(const std::filesystem::path& path);

/// Writes a plain IDX file of 1 to 4 sizes, atomically. Fails when `bytes` has not as many values
/// as `shape` says.
void write_idx(const std::filesystem::path& path, std::span<const int> shape,
               std::span<const std::uint8_t> bytes);

}  // namespace diffusion
