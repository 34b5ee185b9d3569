#include "07_latent_vae/canvases.hpp"

#include <cstdio>

#include "07_latent_vae/pictures.hpp"
#include "data/captions.hpp"
#include "io/files.hpp"
#include "io/image.hpp"

namespace diffusion {

void run_canvases(const CommonOptions& common, const CanvasSettings& settings, RunFolder& folder) {
    constexpr int kColumns = 6;
    const auto start = Clock::now();
    const Pictures pictures = find_pictures(settings.dataset, common.data, settings.n, common.seed);
    const Array<float> x = pictures.learned(0, settings.n);
    folder.keep_earlier();
    const std::filesystem::path place = folder.path("canvases");
    std::filesystem::remove_all(place);
    std::filesystem::create_directories(place);
    std::string table = "file,caption\n";
    for (int i = 0; i < settings.n; ++i) {
        std::string name = std::to_string(i);
        name = std::string(name.size() < 5 ? 5 - name.size() : 0, '0') + name + ".png";
        write_png(place / name, to_image(x.tensor()[i]));
        if (!pictures.caption) continue;
        const std::string caption = pictures.caption(i);
        table += name + "," + as_field(caption) + "\n";
        std::printf("%s  %s\n", name.c_str(), caption.c_str());
    }
    if (pictures.caption)
        write_file_atomically(place / "captions.csv", std::as_bytes(std::span(table)));
    write_png(folder.path("canvases.png"), image_grid(x.tensor(), kColumns, 2));
    folder.picture("canvases.png", "Pictures that an autoencoder learns from: " + pictures.source +
                                       ". canvases/captions.csv says what they show.");
    folder.finish(seconds_since(start));
    std::printf("%d pictures of %s: %s\n", settings.n, pictures.source.c_str(),
                place.string().c_str());
}

}  // namespace diffusion
