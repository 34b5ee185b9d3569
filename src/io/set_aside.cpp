#include "io/set_aside.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

const std::string kPart = ".part";

bool there(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(fs::symlink_status(path, ignored));
}

void move(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::rename(from, to, error);
    require(!error, from.string(), ": cannot be moved to ", to.string(), ": ", error.message());
}

/// The first name earlier_N that is free, and so is earlier_N.part.
fs::path free_name(const fs::path& folder) {
    for (int n = 1;; ++n) {
        const fs::path name = folder / ("earlier_" + std::to_string(n));
        if (!there(name) && !there(name.string() + kPart)) return name;
    }
}

/// The paths in a folder, as they are now.
std::vector<fs::path> content_of(const fs::path& folder) {
    std::error_code ignored;
    std::vector<fs::path> paths;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
        paths.push_back(entry.path());
    return paths;
}

bool is_part(const fs::path& path) {
    return path.filename().string().starts_with("earlier_") && path.extension() == kPart;
}

}  // namespace

fs::path set_aside(const fs::path& folder, std::span<const std::string> names) {
    put_back(folder);
    fs::path aside;
    for (const std::string& name : names) {
        if (!there(folder / name)) continue;
        if (aside.empty()) {
            aside = free_name(folder);
            std::error_code error;
            fs::create_directory(aside.string() + kPart, error);
            require(!error, aside.string(), ": cannot create the folder: ", error.message());
        }
        move(folder / name, fs::path(aside.string() + kPart) / name);
    }
    if (!aside.empty()) move(aside.string() + kPart, aside);
    return aside;
}

void put_back(const fs::path& folder) {
    for (const fs::path& part : content_of(folder)) {
        if (!is_part(part)) continue;
        bool written_since = false;
        const std::vector<fs::path> moved = content_of(part);
        for (const fs::path& each : moved) written_since |= there(folder / each.filename());
        if (written_since) {
            move(part, free_name(folder));
            continue;
        }
        for (const fs::path& each : moved) move(each, folder / each.filename());
        std::error_code ignored;
        fs::remove(part, ignored);  // it is empty
    }
}

std::string size_text(const fs::path& path) {
    std::error_code ignored;
    std::uintmax_t bytes = fs::is_regular_file(path, ignored) ? fs::file_size(path, ignored) : 0;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path, ignored)) {
        if (entry.is_regular_file(ignored)) bytes += entry.file_size(ignored);
    }
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
    return text;
}

FolderLock::FolderLock(const fs::path& folder)
    : file_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file_ < 0 || ::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    ::close(file_);
    fail(folder.string(),
         ": another program is at work here; wait for it, or choose another folder with --out");
}

FolderLock::~FolderLock() {
    if (file_ >= 0) ::close(file_);
}

}  // namespace diffusion
