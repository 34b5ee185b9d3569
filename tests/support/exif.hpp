#pragma once
// A picture's file with an orientation in it, as a camera would write it.
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "support/file_checks.hpp"

namespace diffusion {

/// EXIF data that hold an orientation and nothing else, with the highest or the lowest byte first.
inline std::string exif_of(int orientation, bool lowest_first) {
    const auto n = [&](std::uint32_t value, int bytes) {
        std::string text;
        for (int i = 0; i < bytes; ++i)
            text += static_cast<char>(value >> 8 * (lowest_first ? i : bytes - 1 - i) & 255);
        return text;
    };
    return (lowest_first ? "II" : "MM") + n(42, 2) + n(8, 4) + n(1, 2) + n(0x0112, 2) + n(3, 2) +
           n(1, 4) + n(static_cast<std::uint32_t>(orientation), 2) + n(0, 2) + n(0, 4);
}

/// A chunk of a PNG.
inline std::string png_chunk(const std::string& kind, const std::string& content) {
    const auto big_endian = [](std::uint32_t value) {
        std::string text;
        for (int shift = 24; shift >= 0; shift -= 8)
            text += static_cast<char>(value >> shift & 255);
        return text;
    };
    const std::string checked = kind + content;
    const auto sum = static_cast<std::uint32_t>(crc32(
        0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size())));
    return big_endian(static_cast<std::uint32_t>(content.size())) + checked + big_endian(sum);
}

/// Writes an orientation into a PNG that is there.
inline void orient_png(const std::filesystem::path& path, int orientation,
                       bool lowest_first = false) {
    constexpr std::size_t kBehindHeader = 33;  // signature and IHDR
    const std::string file = get_text(path);
    put_text(path, file.substr(0, kBehindHeader) +
                       png_chunk("eXIf", exif_of(orientation, lowest_first)) +
                       file.substr(kBehindHeader));
}

}  // namespace diffusion
