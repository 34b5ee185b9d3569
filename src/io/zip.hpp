#pragma once
// ZIP archives, as far as NumPy's .npz needs them: files that are stored or deflated. Format:
// PKWARE's APPNOTE.TXT.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace diffusion {

/// An archive in memory. Error, with the path and the place, for one that is damaged, encrypted or
/// larger than 4 GiB, and for a file in it that is packed in another way or whose checksum is
/// wrong.
class ZipFile {
public:
    explicit ZipFile(const std::filesystem::path& path);

    /// The files in it, in their order; no folders.
    std::vector<std::string> names() const;

    /// The unpacked content of one of them.
    std::vector<std::byte> read(const std::string& name) const;

private:
    struct Entry {
        std::string name;
        std::uint32_t method = 0, checksum = 0, packed = 0, size = 0, at = 0;
    };

    /// `bytes` bytes from `at` on as a number, the lowest first.
    std::uint32_t number(std::size_t at, std::size_t bytes) const;
    std::size_t find_directory() const;
    std::vector<std::byte> unpacked(const Entry& entry, std::size_t begin) const;

    std::string where_;
    std::vector<std::byte> file_;
    std::vector<Entry> entries_;
};

}  // namespace diffusion
