#pragma once
// What an earlier run left in a folder is not lost when a new one begins there: it moves into a
// folder of its own, earlier_1, earlier_2, .. Nothing is ever deleted or overwritten.
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace diffusion {

/// Moves what there is of `names` from the folder into a new one inside it, and returns that one's
/// path: empty where there is nothing to move. Every move is a rename. Until the last one the new
/// folder is called earlier_N.part, so that put_back can undo what a kill cut short.
std::filesystem::path set_aside(const std::filesystem::path& folder,
                                std::span<const std::string> names);

/// Moves back what a set_aside that was cut short has moved. Where something of the same name has
/// been written since, the move is completed instead.
void put_back(const std::filesystem::path& folder);

/// What a file or folder takes on the disk, with all below it: "9.4 MB".
std::string size_text(const std::filesystem::path& path);

/// The right to write into a folder, for one program at a time; it ends with the process, however
/// that ends. Fails if another one has it. Where the file system knows no locks, nothing happens.
class FolderLock {
public:
    explicit FolderLock(const std::filesystem::path& folder);
    ~FolderLock();
    FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    FolderLock& operator=(FolderLock&& other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }

private:
    int file_;
};

}  // namespace diffusion
