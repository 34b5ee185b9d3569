#include "05_measuring/given_pictures.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <utility>

#include "data/idx.hpp"
#include "data/image_folder.hpp"
#include "io/image.hpp"
#include "io/npy.hpp"
#include "io/picture_file.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// The first bytes of a file.
std::string beginning_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(64, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    return text;
}

/// What numbers mean as brightness: `black` and `white` stand for 0 and 255.
struct Range {
    float black, white;
    const char* text;
};

Range range_of(const NpyArray& array, const fs::path& path) {
    constexpr float kOvershoot = 2;  // a sampler that does not clip goes beyond 1, but not so far
    if (array.of_bytes) return {0, 255, "bytes"};
    const auto odd = std::ranges::find_if(array.values, [](float v) { return !std::isfinite(v); });
    require(odd == array.values.end(), path.string(), ": number ", odd - array.values.begin(),
            " is not finite");
    const auto [least, most] = std::ranges::minmax(array.values);
    if (least < 0 && least >= -kOvershoot && most <= kOvershoot)
        return {-1, 1, "floats from -1 to 1"};
    if (least >= 0 && most <= 1) return {0, 1, "floats from 0 to 1"};
    require(least >= 0 && most > kOvershoot && most <= 255, path.string(), ": floats from ", least,
            " to ", most, ", expected -1 to 1, 0 to 1 or 0 to 255");
    return {0, 255, "floats from 0 to 255"};
}

Dataset from_array(const NpyArray& array, const fs::path& path) {
    const std::vector<int>& shape = array.shape;
    const int channels = shape.size() == 4 ? shape[3] : 1;
    require((shape.size() == 3 || shape.size() == 4) && (channels == 1 || channels == 3) &&
                !array.values.empty(),
            path.string(), ": the shape is ", shape_text(array.shape),
            ", expected [N,H,W] or [N,H,W,C] with 1 or 3 channels last",
            array.has_channels_first() ? kMakeChannelsLast : "");
    const Range range = range_of(array, path);
    Dataset data{
        "samples", path.string() + ", " + range.text, shape[0], shape[1], shape[2], channels, {},
        {}};
    data.pixels.reserve(array.values.size());
    for (const float v : array.values)
        data.pixels.push_back(to_byte(2 * (v - range.black) / (range.white - range.black) - 1));
    return data;
}

}  // namespace

Dataset read_pictures(const fs::path& path) {
    std::error_code ignored;
    constexpr const char* kWanted =
        "; expected pictures as an IDX file (samples.idx), .npy or .npz, or a folder of PNGs or "
        "JPEGs";
    if (fs::is_directory(path, ignored)) return read_image_folder(path);
    require(fs::exists(path, ignored), path.string(), ": no such file or folder", kWanted);
    const std::string beginning = beginning_of(path);
    if (beginning.starts_with("\x93NUMPY")) return from_array(read_npy(path), path);
    if (beginning.starts_with("PK")) return from_array(read_npz(path), path);
    const std::string kind = kind_of_file(beginning);
    require(kind.empty(), path.string(), ": ", kind, kWanted);
    IdxArray idx = read_idx_images(path);
    if (idx.shape.size() == 3) idx.shape.push_back(1);
    return {"samples",    path.string(), idx.shape[0],         idx.shape[1],
            idx.shape[2], idx.shape[3],  std::move(idx.bytes), {}};
}

void drop_equal_channels(Dataset& pictures) {
    if (pictures.channels != 3) return;
    const std::vector<std::uint8_t>& from = pictures.pixels;
    std::vector<std::uint8_t> grey;
    for (std::size_t i = 0; i + 2 < from.size(); i += 3) {
        if (from[i] != from[i + 1] || from[i] != from[i + 2]) return;
        grey.push_back(from[i]);
    }
    pictures.pixels = std::move(grey);
    pictures.channels = 1;
}

}  // namespace diffusion
