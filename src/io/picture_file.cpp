#include "io/picture_file.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "io/files.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n"sv, kJpeg = "\xff\xd8\xff"sv;
constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr const char* kNot = ": not a picture that can be read: ";
constexpr const char* kCutShort = ", before its end: it was cut short; copy or fetch it again";

/// How files of a kind begin.
struct Kind {
    std::string_view start;
    std::size_t at;
    const char* name;
};
constexpr std::array kRead{Kind{"\x89PNG"sv, 0, "PNG"}, Kind{kJpeg, 0, "JPEG"},
                           Kind{"BM"sv, 0, "BMP"}, Kind{"P5"sv, 0, "PNM"}, Kind{"P6"sv, 0, "PNM"}};
constexpr std::array kNotRead{Kind{"GIF8"sv, 0, "a GIF"},
                              Kind{"WEBP"sv, 8, "a WebP picture"},
                              Kind{"ftyp"sv, 4, "a HEIC or AVIF picture, or a film"},
                              Kind{"II*\0"sv, 0, "a TIFF or a camera's raw picture"},
                              Kind{"MM\0*"sv, 0, "a TIFF or a camera's raw picture"},
                              Kind{"8BPS"sv, 0, "a Photoshop file"},
                              Kind{"%PDF"sv, 0, "a PDF"},
                              Kind{"<svg"sv, 0, "an SVG drawing"},
                              Kind{"<?xml"sv, 0, "an XML file, perhaps an SVG drawing"},
                              Kind{"<!"sv, 0, "a web page"},
                              Kind{"<html"sv, 0, "a web page"},
                              Kind{"PK"sv, 0, "a ZIP archive"},
                              Kind{"\x93NUMPY"sv, 0, "a NumPy array"}};

template <class Kinds>
const Kind* kind_of(std::string_view file, const Kinds& kinds) {
    const auto found = std::ranges::find_if(kinds, [&](const Kind& kind) {
        return file.size() > kind.at && file.substr(kind.at).starts_with(kind.start);
    });
    return found == kinds.end() ? nullptr : &*found;
}

/// `bytes` bytes from `at` on as a number; 0 beyond the end.
std::uint32_t number(std::string_view file, std::size_t at, std::size_t bytes, bool lowest_first) {
    if (at > file.size() || bytes > file.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i)
        value =
            value << 8 | static_cast<unsigned char>(file[at + (lowest_first ? bytes - 1 - i : i)]);
    return value;
}

/// Fails where a header promises more bytes of pixels than the `left` bytes of the file can become,
/// at `most` a byte: there would be memory for all, and what is not there would be shown as it is.
void require_pixels(double promised, std::size_t left, double most, const std::string& where) {
    require(promised <= most * static_cast<double>(left), where, kNot, "its header promises ",
            static_cast<std::uint64_t>(std::min(promised, 1e18)),
            " bytes of pixels, too many for the ", left,
            " bytes that follow: it was cut short or is damaged");
}

/// The orientation in EXIF data, which are laid out as a TIFF file; 1 where there is none.
int orientation_in(std::string_view exif) {
    constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
    const bool lowest_first = exif.starts_with("II");
    if (!lowest_first && !exif.starts_with("MM")) return 1;
    const auto read = [&](std::size_t at, std::size_t bytes) {
        return number(exif, at, bytes, lowest_first);
    };
    const std::size_t directory = read(4, 4), entries = read(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (entry >= exif.size()) break;  // whatever number of entries is promised
        if (read(entry, 2) != kOrientation || read(entry + 2, 2) != kShort) continue;
        const auto orientation = static_cast<int>(read(entry + 8, 2));
        return orientation >= 1 && orientation <= 8 ? orientation : 1;
    }
    return 1;
}

/// Fails unless so many bytes in the chunks IDAT can be the picture that the header, IHDR,
/// promises.
void check_png_size(std::string_view header, std::size_t packed, const std::string& where) {
    constexpr double kMostFolding = 1032;  // deflate makes no more than this of a byte
    constexpr std::array kSamples{1, 0, 3, 1, 2, 0, 4};  // of a pixel, by the kind of colour
    const std::size_t colour = number(header, 9, 1, false);
    if (colour >= kSamples.size()) return;  // stb_image refuses it
    const double bits = kSamples[colour] * static_cast<double>(number(header, 8, 1, false));
    require_pixels(bits / 8 * number(header, 0, 4, false) * number(header, 4, 4, false), packed,
                   kMostFolding, where);
}

/// Walks the chunks of a PNG: length, kind, content, checksum.
int look_at_png(std::string_view file, const std::string& where) {
    const std::string_view start = file.substr(0, kPng.size());
    if (kPng.starts_with(start) && start.size() < kPng.size())
        fail(where, kNot, "the file ends at byte ", file.size(), kCutShort);
    require(start == kPng, where, kNot,
            "a PNG whose line ends were changed on its way, as by a transfer in text mode; copy it "
            "again, in binary mode");
    int orientation = 1;
    std::string_view header;
    std::size_t packed = 0;
    for (std::size_t at = kPng.size();;) {
        const std::size_t length = number(file, at, 4, false), left = file.size() - at;
        require(left >= 12 && length <= left - 12, where, kNot, "the PNG ends at byte ",
                file.size(), kCutShort);
        const std::string_view kind = file.substr(at + 4, 4), content = file.substr(at + 8, length);
        const auto* checked = reinterpret_cast<const Bytef*>(kind.data());
        const bool whole =
            crc32_z(0, checked, 4 + length) == number(file, at + 8 + length, 4, false);
        const bool needed = std::isupper(static_cast<unsigned char>(kind.front())) != 0;
        require(whole || !needed, where, kNot, "the PNG is damaged between the bytes ", at, " and ",
                at + 12 + length, ": a checksum is wrong");
        if (kind == "eXIf" && whole) orientation = orientation_in(content);
        if (kind == "IHDR") header = content;
        if (kind == "IDAT") packed += length;
        at += 12 + length;
        if (kind == "IEND") break;
    }
    check_png_size(header, packed, where);
    return orientation;
}

/// The mark behind the packed numbers of a scan, which begin at `at`: what follows the bytes FF
/// there is 0, or a mark from which unpacking can start anew.
std::size_t end_of_scan(std::string_view file, std::size_t at) {
    constexpr unsigned char kFirstRestart = 0xd0, kLastRestart = 0xd7;
    for (;;) {
        const std::size_t next = file.find_first_not_of('\xff', file.find('\xff', at));
        if (next == std::string_view::npos) return file.size();
        const auto mark = static_cast<unsigned char>(file[next]);
        if (mark != 0 && (mark < kFirstRestart || mark > kLastRestart)) return next - 1;
        at = next + 1;
    }
}

/// Fails on a Huffman table of more than the 256 codes that there can be, between `at` and `end`.
/// stb_image does not count them before version 2.29, and writes beyond its table.
void check_codes(std::string_view file, std::size_t at, std::size_t end, const std::string& where) {
    constexpr std::size_t kLengths = 16, kMostCodes = 256;
    while (at < end) {
        std::size_t codes = 0;
        for (std::size_t i = 1; i <= kLengths; ++i) codes += number(file, at + i, 1, false);
        require(codes <= kMostCodes, where, kNot, "byte ", at, ": a table of the JPEG has ", codes,
                " codes, at most ", kMostCodes, " are possible: it is damaged");
        at += 1 + kLengths + codes;
    }
}

/// Walks the segments of a JPEG up to the mark of the end. Before a segment other bytes may lie.
int look_at_jpeg(std::string_view file, const std::string& where) {
    constexpr unsigned char kScan = 0xda, kApplication1 = 0xe1, kPadding = 0xff, kFrame = 0xc0,
                            kCodes = 0xc4, kEnd = 0xd9;
    // 8 x 8 pixels are one bit at least, in a component that may have each fourth row only.
    constexpr double kMostPixels = 8 * 8 * 8 * 4;
    int orientation = 1;
    double pixels = 0;
    std::size_t at = 2;
    while ((at = file.find('\xff', at)) < file.size() && at + 4 <= file.size()) {
        const auto mark = static_cast<unsigned char>(file[at + 1]);
        if (mark == kEnd) break;
        if (mark == kPadding) {
            ++at;
            continue;
        }
        const std::size_t length = std::max<std::size_t>(2, number(file, at + 2, 2, false));
        const std::string_view content = file.substr(at + 4, length - 2);
        if (mark == kApplication1 && content.starts_with(kExif))
            orientation = orientation_in(content.substr(kExif.size()));
        if (mark >= kFrame && mark <= kFrame + 2)
            pixels = std::max(
                pixels, double{1} * number(content, 1, 2, false) * number(content, 3, 2, false));
        if (mark == kCodes) check_codes(file, at + 4, at + 2 + length, where);
        at += 2 + length;
        if (mark == kScan) at = end_of_scan(file, at);
    }
    require(file.find("\xff\xd9"sv, at) != std::string_view::npos, where, kNot,
            "the JPEG ends at byte ", file.size(), kCutShort);
    require_pixels(pixels, file.size(), kMostPixels, where);
    return orientation;
}

/// A BMP: a header, and from a place that it names on rows of whole 32-bit words.
void look_at_bmp(std::string_view file, const std::string& where) {
    const auto read = [&](std::size_t at, std::size_t bytes) {
        return number(file, at, bytes, true);
    };
    const bool old = read(14, 4) == 12;
    const double width = read(18, old ? 2 : 4), bits = read(old ? 24 : 28, 2),
                 height = old ? read(20, 2)
                              : std::abs(double{1} * static_cast<std::int32_t>(read(22, 4)));
    require(width > 0 && height > 0, where, kNot, "the picture is empty: ", width, " x ", height);
    const double row = std::ceil(width * bits / 32) * 4;
    require_pixels(row * (height - 1) + std::ceil(width * bits / 8),
                   file.size() - std::min<std::size_t>(file.size(), read(10, 4)), 1, where);
}

/// A PNM: width, height and the largest value in digits, one blank, and the pixels. A remark goes
/// from # to the end of its line.
void look_at_pnm(std::string_view file, const std::string& where) {
    constexpr std::string_view kBlanks = " \t\n\v\f\r", kLineEnds = "\n\r";
    std::size_t at = 2;
    const auto next = [&] {
        while ((at = std::min(file.find_first_not_of(kBlanks, at), file.size())) < file.size() &&
               file[at] == '#')
            at = std::min(file.find_first_of(kLineEnds, at), file.size());
        double value = 0;
        for (; at < file.size() && file[at] >= '0' && file[at] <= '9'; ++at)
            value = 10 * value + (file[at] - '0');
        return value;
    };
    const double width = next(), height = next(), bytes = next() > 255 ? 2 : 1;
    const double promised = width * height * bytes * (file[1] == '6' ? 3 : 1);
    require_pixels(promised, file.size() - std::min(file.size(), at + 1), 1, where);
}

}  // namespace

std::string kind_of_file(std::string_view beginning) {
    if (const Kind* kind = kind_of(beginning, kRead))
        return "a picture (" + std::string(kind->name) + ")";
    if (const Kind* kind = kind_of(beginning, kNotRead)) return kind->name;
    const auto is_written = [](char c) {
        return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
    };
    return !beginning.empty() && std::ranges::all_of(beginning, is_written) ? "a text" : "";
}

int look_at_picture(std::span<const std::byte> bytes, const std::string& where) {
    const std::string_view file = as_text(bytes);
    require(!file.empty(), where, kNot, "the file is empty");
    const Kind* kind = kind_of(file, kRead);
    if (kind == nullptr) {
        const Kind* other = kind_of(file, kNotRead);
        fail(where, kNot, other ? "it is " + std::string(other->name) + "; " : "",
             "expected PNG, JPEG, BMP or PNM");
    }
    if (std::string_view(kind->name) == "PNG") return look_at_png(file, where);
    if (std::string_view(kind->name) == "JPEG") return look_at_jpeg(file, where);
    if (std::string_view(kind->name) == "BMP") look_at_bmp(file, where);
    if (std::string_view(kind->name) == "PNM") look_at_pnm(file, where);
    return 1;
}

}  // namespace diffusion
