#include "io/zip.hpp"

#include <zlib.h>

#include <algorithm>
#include <span>
#include <string_view>

#include "io/files.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

constexpr std::uint32_t kFileMark = 0x04034b50, kEntryMark = 0x02014b50, kEndMark = 0x06054b50;
constexpr std::size_t kFileHeader = 30, kEntryHeader = 46, kEndHeader = 22;
constexpr std::uint32_t kStored = 0, kDeflated = 8, kElsewhere = 0xffffffff;
constexpr std::size_t kMostFolding = 1032;  // deflate makes no more than this of a byte

}  // namespace

std::uint32_t ZipFile::number(std::size_t at, std::size_t bytes) const {
    require(at + bytes <= file_.size(), where_, ": the archive ends at byte ", file_.size(),
            ": it was cut short");
    std::uint32_t value = 0;
    for (std::size_t i = bytes; i-- > 0;)
        value = value << 8 | std::to_integer<std::uint32_t>(file_[at + i]);
    return value;
}

/// The record at the end, which says where the directory is; a comment may follow it.
std::size_t ZipFile::find_directory() const {
    constexpr std::size_t kMostComment = 65535;
    const std::size_t last = file_.size() - std::min(file_.size(), kEndHeader);
    for (std::size_t back = 0; back <= std::min(last, kMostComment); ++back) {
        if (file_.size() >= kEndHeader && number(last - back, 4) == kEndMark) return last - back;
    }
    fail(where_, ": the archive has no directory at its end: it was cut short, fetch it again");
}

ZipFile::ZipFile(const std::filesystem::path& path)
    : where_(path.string()), file_(read_file(path)) {
    require(file_.size() >= 4 && number(0, 2) == (kFileMark & 0xffff), where_,
            ": not a ZIP archive");
    const std::size_t end = find_directory();
    const std::uint32_t count = number(end + 10, 2);
    std::size_t at = number(end + 16, 4);
    for (std::uint32_t i = 0; i < count; ++i) {
        require(number(at, 4) == kEntryMark, where_, ": byte ", at,
                ": expected an entry of the archive's directory");
        Entry entry{{},
                    number(at + 10, 2),
                    number(at + 16, 4),
                    number(at + 20, 4),
                    number(at + 24, 4),
                    number(at + 42, 4)};
        const std::size_t length = number(at + 28, 2);
        require(at + kEntryHeader + length <= file_.size(), where_, ": byte ", at,
                ": a name beyond the end of the archive");
        entry.name = as_text(file_).substr(at + kEntryHeader, length);
        const bool encrypted = (number(at + 8, 2) & 1) != 0;
        require(!encrypted, where_, ": ", in_quotes(entry.name), " is encrypted");
        require(entry.size != kElsewhere && entry.packed != kElsewhere && entry.at != kElsewhere,
                where_, ": ", in_quotes(entry.name), " is larger than 4 GiB");
        if (!entry.name.ends_with('/')) entries_.push_back(entry);
        at += kEntryHeader + length + number(at + 30, 2) + number(at + 32, 2);
    }
}

std::vector<std::string> ZipFile::names() const {
    std::vector<std::string> all;
    for (const Entry& entry : entries_) all.push_back(entry.name);
    return all;
}

std::vector<std::byte> ZipFile::read(const std::string& name) const {
    const auto entry = std::ranges::find(entries_, name, &Entry::name);
    require(entry != entries_.end(), where_, ": has no ", in_quotes(name));
    // The file's own header repeats the directory's, with fields of other lengths.
    require(number(entry->at, 4) == kFileMark, where_, ": byte ", entry->at, ": expected ",
            in_quotes(name));
    const std::size_t begin =
        entry->at + kFileHeader + number(entry->at + 26, 2) + number(entry->at + 28, 2);
    require(begin + entry->packed <= file_.size(), where_, ": ", in_quotes(name),
            " goes beyond the end of the archive: it was cut short");
    const std::vector<std::byte> content = unpacked(*entry, begin);
    const auto* bytes = reinterpret_cast<const Bytef*>(content.data());
    require(crc32_z(0, bytes, content.size()) == entry->checksum, where_, ": ", in_quotes(name),
            " is damaged: its checksum is wrong");
    return content;
}

std::vector<std::byte> ZipFile::unpacked(const Entry& entry, std::size_t begin) const {
    const std::span packed = std::span(file_).subspan(begin, entry.packed);
    const std::string name = in_quotes(entry.name);
    require(entry.method == kStored || entry.method == kDeflated, where_, ": ", name,
            ": packed by method ", entry.method, ", expected 0 (stored) or 8 (deflated)");
    if (entry.method == kStored) return {packed.begin(), packed.end()};
    require(entry.size / kMostFolding <= packed.size(), where_, ": ", name, ": ", packed.size(),
            " bytes cannot become ", entry.size);
    std::vector<std::byte> content(entry.size);
    Bytef nothing = 0;  // inflate wants a place even for an empty file
    z_stream z{};
    require(inflateInit2(&z, -15) == Z_OK, where_, ": zlib does not start");  // -15: no header
    z.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
    z.avail_in = entry.packed;
    z.next_out = content.empty() ? &nothing : reinterpret_cast<Bytef*>(content.data());
    z.avail_out = entry.size;
    const int status = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    require(status == Z_STREAM_END && z.avail_out == 0, where_, ": ", name,
            " is damaged: it cannot be unpacked");
    return content;
}

}  // namespace diffusion
