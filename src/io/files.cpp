#include "io/files.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include "io/file_reader.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostPerCall = std::size_t{1} << 30;  // macOS refuses calls over 2 GiB

constexpr const char* kTemporary = ".write-%d-";  // how a temporary file's name begins

std::string reason(int error) {
    return std::generic_category().message(error);
}

bool write_all(int file, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(file, bytes.data(), std::min(bytes.size(), kMostPerCall));
        if (n < 0 && errno != EINTR) return false;
        if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
}

/// Creates a file that did not exist before. Its name holds the process and a count, so that
/// neither another thread nor another run writes to it; one left by a killed process of the same
/// number is stepped over.
int create_temporary(const fs::path& folder, fs::path& name) {
    static std::atomic<unsigned> count{0};
    int file = -1;
    do {
        char start[32];
        std::snprintf(start, sizeof start, kTemporary, ::getpid());
        name = folder / (start + std::to_string(count++) + ".tmp");
        file = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (file < 0 && (errno == EEXIST || errno == EINTR));
    return file;
}

/// A rename is only sure to survive a power cut once its folder is on the disk. Some file systems
/// cannot flush a folder, and some folders may be written but not opened; neither harms the file.
void flush_folder(const fs::path& folder, const fs::path& path) {
    const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    const int error = ::fsync(file) == 0 ? 0 : errno;
    ::close(file);
    if (error != 0 && error != EINVAL && error != ENOTSUP) {
        fail(path.string(),
             ": written, but its folder cannot be flushed to the disk: ", reason(error));
    }
}

}  // namespace

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes) {
    write_parts_atomically(path, std::span(&bytes, 1));
}

void write_parts_atomically(const fs::path& path,
                            std::span<const std::span<const std::byte>> parts) {
    std::error_code missing;
    fs::path target = fs::canonical(path, missing);
    if (missing) target = path;
    const fs::file_status status = fs::status(target, missing);
    require(!fs::exists(status) || fs::is_regular_file(status), path.string(),
            ": cannot write: a folder or device has this name; choose another");

    const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
    fs::path temporary;
    const int file = create_temporary(folder, temporary);
    if (file < 0) {
        const int error = errno;
        fail(path.string(), ": cannot write into ", folder.string(), ": ", reason(error));
    }
    std::size_t bytes = 0;
    int error = 0;
    for (const std::span<const std::byte> part : parts) {
        bytes += part.size();
        if (error == 0 && !write_all(file, part)) error = errno;
    }
    if (error == 0 && ::fsync(file) != 0) error = errno;
    if (::close(file) != 0 && error == 0) error = errno;
    if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
    if (error != 0) {
        ::unlink(temporary.c_str());
        fail(path.string(), ": cannot write ", bytes, " bytes: ", reason(error),
             fs::exists(status) ? "; the old file is unchanged" : "");
    }
    flush_folder(folder, path);
}

void remove_leftovers(const fs::path& folder) {
    std::error_code ignored;
    std::vector<fs::path> left;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
        int process = 0;
        const std::string name = entry.path().filename().string();
        if (name.ends_with(".tmp") && std::sscanf(name.c_str(), kTemporary, &process) == 1 &&
            ::kill(process, 0) != 0 && errno == ESRCH)
            left.push_back(entry.path());
    }
    for (const fs::path& each : left) fs::remove(each, ignored);
}

std::vector<std::byte> read_file(const fs::path& path) {
    const FileReader file(path, FileReader::Access::plain);
    std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
    file.read(0, bytes);
    return bytes;
}

void require_file(const fs::path& path, const std::string& made_by) {
    std::error_code error;
    const bool there = fs::exists(path, error);
    require(there || error, path.string(), ": cannot read: no such file; ", made_by);
}

}  // namespace diffusion
