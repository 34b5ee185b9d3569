#include "07_latent_vae/canvases.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "07_latent_vae/pictures.hpp"
#include "data/captions.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/set_aside.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

std::string file_name(int number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits + ".png";
}

/// The first n pictures, and captions.csv where something is said of them. Returns the seconds that
/// it took to compose the pictures.
double write_folder(const fs::path& place, const Pictures& pictures, int n) {
    constexpr int kAtOnce = 500;
    std::string table = "file,caption\n";
    Array<float> some;
    double seconds = 0;
    for (int i = 0; i < n; ++i) {
        require(!interrupted(), "interrupted; nothing was written");
        if (i % kAtOnce == 0) {
            const auto start = Clock::now();
            some = pictures.learned(i, std::min(kAtOnce, n - i));
            seconds += seconds_since(start);
        }
        write_png(place / file_name(i), to_image(some.tensor()[i % kAtOnce]));
        if (!pictures.caption) continue;
        const std::string caption = pictures.caption(i);
        table += file_name(i) + "," + as_field(caption) + "\n";
        std::printf("%s  %s\n", file_name(i).c_str(), caption.c_str());
    }
    if (pictures.caption)
        write_file_atomically(place / "captions.csv", std::as_bytes(std::span(table)));
    return seconds;
}

}  // namespace

void run_canvases(const CommonOptions& common, const CanvasSettings& settings, RunFolder& folder) {
    constexpr int kColumns = 6, kMostOnSheet = 60;
    const auto start = Clock::now();
    const Pictures pictures = find_pictures(settings.dataset, common.data, settings.n, common.seed);
    const int n = pictures.count > 0 ? std::min(settings.n, pictures.count) : settings.n;
    folder.keep_earlier();
    // Under another name until all is there; what an earlier call left is kept.
    const std::array<std::string, 1> name = {"canvases"};
    const fs::path place = folder.path(name[0]), part = folder.path("canvases.part");
    fs::remove_all(part);
    fs::create_directories(part);
    double seconds = 0;  // of composing
    try {
        seconds = write_folder(part, pictures, n);
    } catch (...) {
        fs::remove_all(part);
        throw;
    }
    if (const fs::path aside = set_aside(folder.dir(), name); !aside.empty())
        std::printf("note: the earlier pictures are kept in %s\n", aside.c_str());
    fs::rename(part, place);
    const Array<float> some = pictures.learned(0, std::min(n, kMostOnSheet));
    write_png(folder.path("canvases.png"), image_grid(some.tensor(), kColumns, 2));
    folder.picture("canvases.png",
                   "Pictures that an autoencoder learns from: " + pictures.source +
                       (pictures.caption ? "; canvases/captions.csv says what they show." : "."));
    folder.finish(seconds_since(start));
    std::printf("%d pictures of %s: %s\n", n, pictures.source.c_str(), place.c_str());
    if (is_composed(settings.dataset))
        std::printf("composed at %.0f pictures a second\n", n / seconds);
}

}  // namespace diffusion
