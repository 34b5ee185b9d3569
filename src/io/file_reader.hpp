#pragma once
// A large file, read in parts.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace diffusion {

/// A regular file that is open for reading. Any number of threads may read from it at a time. It is
/// mapped where the system can, so that no copy of it lies in memory but the caller's; whoever
/// shortens a file while it is mapped ends the program that reads it.
class FileReader {
public:
    enum class Access { mapped, plain };

    /// Error if the file is missing, unreadable, or a folder or device.
    explicit FileReader(const std::filesystem::path& path, Access access = Access::mapped);
    FileReader(FileReader&& other) noexcept { swap(other); }
    FileReader& operator=(FileReader other) noexcept {
        swap(other);
        return *this;
    }
    ~FileReader();

    const std::filesystem::path& path() const { return path_; }
    std::uint64_t size() const { return size_; }

    /// Copies the bytes from `begin` on. Error if the file does not have so many.
    void read(std::uint64_t begin, std::span<std::byte> to) const;

    /// Tells the system that these bytes are not needed soon: mapped ones stop counting as memory
    /// of this program. They can still be read.
    void drop(std::uint64_t begin, std::uint64_t end) const;

private:
    void swap(FileReader& other) noexcept;

    std::filesystem::path path_;
    std::uint64_t size_ = 0;
    int file_ = -1;                 ///< open where nothing is mapped
    std::byte* mapping_ = nullptr;  ///< or else the whole file
};

}  // namespace diffusion
