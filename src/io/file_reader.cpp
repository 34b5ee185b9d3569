#include "io/file_reader.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr std::size_t kMostPerCall = std::size_t{1} << 30;  // macOS refuses calls over 2 GiB
/// A page that is missing is mapped together with others around it: 64 KB, or a large page.
constexpr std::uintptr_t kNeighbourhood = 2 << 20;

std::string reason(int error) {
    return std::generic_category().message(error);
}

}  // namespace

FileReader::FileReader(const std::filesystem::path& path, Access access) : path_(path) {
    // O_NONBLOCK: opening a named pipe by mistake must fail below, not wait for a writer.
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info = {};
    int error = file_ < 0 || ::fstat(file_, &info) != 0 ? errno : 0;
    if (error == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
    const bool regular = error == 0 && S_ISREG(info.st_mode);
    if (regular) size_ = static_cast<std::uint64_t>(info.st_size);

    if (regular && size_ > 0 && access == Access::mapped) {
        void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_, 0);
        if (mapping != MAP_FAILED) mapping_ = static_cast<std::byte*>(mapping);
    }
    if (file_ >= 0 && (mapping_ != nullptr || !regular)) {
        ::close(file_);
        file_ = -1;
    }
    require(error != EISDIR, path.string(), ": cannot read: it is a folder, not a regular file");
    require(error == 0, path.string(), ": cannot read: ", reason(error));
    require(regular, path.string(), ": cannot read: it is not a regular file");
}

FileReader::~FileReader() {
    if (mapping_ != nullptr) ::munmap(mapping_, size_);
    if (file_ >= 0) ::close(file_);
}

void FileReader::swap(FileReader& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(size_, other.size_);
    std::swap(file_, other.file_);
    std::swap(mapping_, other.mapping_);
}

void FileReader::read(std::uint64_t begin, std::span<std::byte> to) const {
    require(begin <= size_ && to.size() <= size_ - begin, path_.string(), ": has ", size_,
            " bytes, cannot read ", to.size(), " from byte ", begin, " on");
    if (mapping_ != nullptr && !to.empty()) {
        std::memcpy(to.data(), mapping_ + begin, to.size());
        return;
    }
    while (!to.empty()) {
        const ssize_t n =
            ::pread(file_, to.data(), std::min(to.size(), kMostPerCall), static_cast<off_t>(begin));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(path_.string(), ": cannot read: ", reason(errno));
        require(n > 0, path_.string(), ": cannot read: it became shorter meanwhile");
        begin += static_cast<std::uint64_t>(n);
        to = to.subspan(static_cast<std::size_t>(n));
    }
}

void FileReader::drop(std::uint64_t begin, std::uint64_t end) const {
    if (mapping_ == nullptr || begin >= end) return;
    const auto start = reinterpret_cast<std::uintptr_t>(mapping_);
    const std::uintptr_t first = (start + begin) / kNeighbourhood * kNeighbourhood,
                         last =
                             (start + end + kNeighbourhood - 1) / kNeighbourhood * kNeighbourhood,
                         from = std::max(first, start), to = std::min(last, start + size_);
    // A page that another thread is reading comes back when it goes on. Advice may be refused.
    ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

}  // namespace diffusion
