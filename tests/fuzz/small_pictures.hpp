#pragma once
// Picture files of a few hundred bytes, of all kinds that are read.
#include <stb/stb_image_write.h>

#include <string>
#include <vector>

#include "support/exif.hpp"
#include "support/noise_image.hpp"

namespace diffusion::fuzz {

inline std::string encoded(const Image& image, bool png) {
    std::string file;
    const auto append = [](void* to, void* data, int size) {
        static_cast<std::string*>(to)->append(static_cast<const char*>(data),
                                              static_cast<std::size_t>(size));
    };
    const int w = image.width, h = image.height, c = image.channels;
    if (png)
        stbi_write_png_to_func(append, &file, w, h, c, image.pixels.data(), 0);
    else
        stbi_write_jpg_to_func(append, &file, w, h, c, image.pixels.data(), 50);
    return file;
}

inline std::vector<std::string> small_pictures() {
    using namespace std::string_literals;
    const Image grey = noise(3, 5, 1, 256), colour = noise(9, 8, 3, 4);
    const std::string png = encoded(colour, true), jpeg = encoded(colour, false);
    const std::string exif = "Exif\0\0"s + exif_of(6, true);
    const auto n = static_cast<char>(exif.size() + 2);
    const std::string oriented = png.substr(0, 33) + png_chunk("eXIf", exif_of(3, false));
    const std::string info = bytes_of<std::uint32_t>({40, 2, 2}) +
                             bytes_of<std::uint16_t>({1, 24}) +
                             bytes_of<std::uint32_t>({0, 16, 0, 0, 0, 0});
    return {encoded(grey, true),
            png,
            jpeg,
            encoded(grey, false),
            oriented + png.substr(33),
            jpeg.substr(0, 2) + "\xff\xe1\0"s + n + exif + jpeg.substr(2),
            "BM"s + bytes_of<std::uint32_t>({70, 0, 54}) + info + "0123450012345000"s,
            "P5 4 2 255\n12345678"s,
            "P6\n# a remark\n2 1\n255\nabcdef"s,
            "GIF89a"s};
}

}  // namespace diffusion::fuzz
