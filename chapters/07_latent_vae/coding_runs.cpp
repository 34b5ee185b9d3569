// The reader's own pictures, through any autoencoder.
#include <algorithm>
#include <cstdio>

#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/runs.hpp"
#include "io/fit_picture.hpp"
#include "io/image.hpp"
#include "io/npy.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// The reader's picture as a coder takes it: cut to sides that are multiples of its factor, which
/// is told, grey or coloured.
Array<float> picture_for(const Coder& coder, const fs::path& path) {
    Image image = read_image(path);
    const int height = image.height / coder.factor * coder.factor,
              width = image.width / coder.factor * coder.factor;
    require(height > 0 && width > 0, path.string(), ": a picture of ", image.height, " x ",
            image.width, " pixels, expected ", coder.factor, " at least on both sides");
    if (height != image.height || width != image.width)
        std::printf(
            "note: %s: %d x %d pixels are not multiples of %d; the middle %d x %d are used\n",
            path.c_str(), image.height, image.width, coder.factor, height, width);
    const int top = (image.height - height) / 2, left = (image.width - width) / 2;
    Image cut{height, width, image.channels, {}};
    for (int y = 0; y < height; ++y) {
        const auto row =
            image.pixels.begin() +
            (static_cast<std::ptrdiff_t>(top + y) * image.width + left) * image.channels;
        cut.pixels.insert(cut.pixels.end(), row,
                          row + static_cast<std::ptrdiff_t>(width) * image.channels);
    }
    Array<float> x({1, height, width, coder.in_channels});
    fit_picture(cut, false, x.tensor()[0]);
    return x;
}

std::string numbered(const char* name, std::size_t i, const char* ending) {
    return std::string(name) + "_" + std::to_string(i + 1) + ending;
}

/// The coder, the banner, and how many pictures it is for.
Coder begin_coding(const std::string& title, const CodingSettings& settings, RunFolder& folder) {
    Coder coder = load_coder(settings.model);
    require(coder.in_channels == 1 || coder.in_channels == 3, settings.model.string(),
            ": takes pictures of ", coder.in_channels, " channels, expected 1 or 3");
    banner(title, {{"model", settings.model.string()}, {"class", coder.name}});
    folder.keep_earlier();
    folder.setting("model", settings.model.string());
    return coder;
}

}  // namespace

void run_encode(const CommonOptions&, const CodingSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    const Coder coder = begin_coding("Chapter 7: pictures to latents", settings, folder);
    for (std::size_t i = 0; i < settings.images.size(); ++i) {
        require(!interrupted(), "interrupted");
        const Array<float> z = coder.encode(picture_for(coder, settings.images[i]).tensor());
        const std::string file = numbered("latent", i, ".npy");
        write_npy(folder.path(file), z.tensor());
        std::printf("%s: %s\n", settings.images[i].c_str(), folder.path(file).c_str());
    }
    folder.finish(seconds_since(start));
}

void run_decode(const CommonOptions&, const CodingSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    const Coder coder = begin_coding("Chapter 7: latents to pictures", settings, folder);
    const NpyArray given = read_npy(settings.latents);
    require(given.shape.size() == 4 && std::ranges::min(given.shape) > 0 &&
                given.shape[3] == coder.latent_channels && !given.of_bytes,
            settings.latents.string(), ": has ", given.of_bytes ? "bytes " : "numbers ",
            shape_text(given.shape), ", expected float32 numbers [N,h,w,", coder.latent_channels,
            "]", given.has_channels_first() ? kMakeChannelsLast : "");
    Array<float> z({given.shape[0], given.shape[1], given.shape[2], given.shape[3]});
    std::ranges::copy(given.values, z.begin());
    require_finite(z.tensor(), settings.latents.string());
    const auto begun = Clock::now();
    const Array<float> pictures = coder.decode(z.tensor());
    const double seconds = seconds_since(begun);
    folder.number("seconds a picture, decoding", seconds / pictures.shape()[0]);
    for (int i = 0; i < pictures.shape()[0]; ++i) {
        const std::string file = numbered("decoded", static_cast<std::size_t>(i), ".png");
        write_png(folder.path(file), to_image(pictures.tensor()[i]));
        folder.picture(file, "Decoded from " + settings.latents.string() + ".");
    }
    folder.finish(seconds_since(start));
    std::printf("%d pictures, decoded in %.2f s: %s\n", pictures.shape()[0], seconds,
                folder.path("decoded_1.png").c_str());
}

void run_reconstruct(const CommonOptions&, const CodingSettings& settings, RunFolder& folder) {
    const auto start = Clock::now();
    const Coder coder =
        begin_coding("Chapter 7: pictures, and what latents keep of them", settings, folder);
    require(coder.in_channels == coder.out_channels, settings.model.string(), ": takes ",
            coder.in_channels, " channels and gives ", coder.out_channels,
            "; such pictures cannot be compared");
    for (std::size_t i = 0; i < settings.images.size(); ++i) {
        require(!interrupted(), "interrupted");
        const Array<float> x = picture_for(coder, settings.images[i]),
                           y = coder.decode(coder.encode(x.tensor()).tensor());
        const std::string file = numbered("reconstructed", i, ".png");
        Array<float> both({2, x.shape()[1], x.shape()[2], x.shape()[3]});
        std::ranges::copy(x, both.tensor()[0].begin());
        std::ranges::copy(y, both.tensor()[1].begin());
        write_png(folder.path(file), image_grid(both.tensor(), 2));
        const double db = mean_psnr(x.tensor(), y.tensor());
        folder.picture(file, settings.images[i].filename().string() + ", and what is left of it.");
        folder.number(settings.images[i].filename().string(), db, "dB");
        std::printf("%s: %.2f dB: %s\n", settings.images[i].c_str(), db, folder.path(file).c_str());
    }
    folder.finish(seconds_since(start));
}

}  // namespace diffusion
