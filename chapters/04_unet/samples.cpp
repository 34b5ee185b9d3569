#include "04_unet/samples.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "data/idx.hpp"
#include "io/image.hpp"
#include "io/npy.hpp"
#include "tensor/finite.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {

Array<float> find_noise(const std::filesystem::path& path, const DenoisingModel& model, int n,
                        std::uint64_t seed) {
    if (path.empty()) {
        Array<float> x(model.shape(n));
        start_noise<float>(seed, x.tensor());
        return x;
    }
    const int channels = model.unet.config().in_channels;
    const NpyArray noise = read_npy(path);
    require(!noise.of_bytes, path.string(), ": holds bytes, expected normal noise as float32");
    require(noise.shape.size() == 4 && noise.shape[0] > 0 && noise.shape[1] == model.height &&
                noise.shape[2] == model.width && noise.shape[3] == channels,
            path.string(), ": the shape is ", shape_text(noise.shape), ", expected [N,",
            model.height, ",", model.width, ",", channels, "], channels last",
            noise.has_channels_first() ? kMakeChannelsLast : "");
    require(all_finite<float>(noise.values), path.string(), ": holds numbers that are not finite");
    Array<float> x(model.shape(noise.shape[0]));
    std::copy(noise.values.begin(), noise.values.end(), x.begin());
    return x;
}

Dataset to_dataset(Tensor<const float> x, const std::string& source) {
    require_finite(x, source);
    Dataset data{"samples", source, x.size(0), x.size(1), x.size(2), x.size(3), {}, {}};
    data.pixels.resize(static_cast<std::size_t>(x.numel()));
    std::transform(x.begin(), x.end(), data.pixels.begin(), to_byte);
    return data;
}

namespace {

/// More pictures than are drawn now are not replaced by them.
void keep_more(const RunFolder& folder, int n) {
    const std::filesystem::path file = folder.path("samples.idx");
    if (!std::filesystem::exists(file)) return;
    int there = 0;
    try {
        there = read_idx_images(file).shape.at(0);
    } catch (const std::exception&) {  // damaged: nothing to keep
    }
    if (there <= n) return;
    const std::array<std::string, 4> names = {"samples.idx", "samples.npy", "samples.png",
                                              "denoising.gif"};
    const std::filesystem::path aside = set_aside(folder.dir(), names);
    std::printf("the %d pictures that were drawn here before are kept in %s\n", there,
                aside.c_str());
}

}  // namespace

void write_samples(RunFolder& folder, Tensor<const float> x, bool npy, const std::string& how) {
    constexpr int kMostInGrid = 1024;  // 32 x 32
    const int n = x.size(0), shown = std::min(n, kMostInGrid);
    keep_more(folder, n);
    std::vector<int> shape{n, x.size(1), x.size(2)};
    if (x.size(3) > 1) shape.push_back(x.size(3));
    write_idx(folder.path("samples.idx"), shape,
              to_dataset(x, folder.path("samples.idx").string()).pixels);
    std::filesystem::remove(folder.path("samples.npy"));  // that of another drawing
    if (npy) write_npy(folder.path("samples.npy"), x);
    write_png(folder.path("samples.png"),
              image_grid({x.data(), {shown, x.size(1), x.size(2), x.size(3)}},
                         static_cast<int>(std::ceil(std::sqrt(shown))), 2));
    folder.picture("samples.png", (shown < n ? "The first " + std::to_string(shown) + " of " : "") +
                                      std::to_string(n) + " pictures " + how + ".");
}

}  // namespace diffusion
