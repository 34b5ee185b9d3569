// An autoencoder's settings: config.json of the classes AutoencoderKL and AutoencoderTiny.
#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/tiny_file.hpp"
#include "fuzz/fuzz.hpp"
#include "io/config.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    AutoencoderSettings small, large;
    small.config.channels = {8, 16};
    large.config.channels = {128, 256, 512, 512};
    large.config.groups = 32;
    large.config.blocks = 2;
    large.config.quant = large.config.post_quant = true;
    large.scale = {0.3611, 0.1159};
    TinyConfig pool;
    pool.pool = true;
    std::vector<std::string> all = {
        autoencoder_json(small).dump(),
        autoencoder_json(large).dump(),
        tiny_json({}).dump(),
        tiny_json(pool).dump(),
        R"({"_class_name": "AutoencoderKL", "scaling_factor": 1e999, "latent_channels": -4})",
        R"({"_class_name": "AutoencoderTiny", "encoder_block_out_channels": [64, 65]})"};
    return all;
}

void check(const std::string& input) {
    const auto path = folder() / "config.json", again = folder() / "again.json";
    put_text(path, input);
    AutoencoderSettings settings;
    if (accepted(path.string(), [&] { settings = read_autoencoder_settings(Config(path)); })) {
        put_text(again, autoencoder_json(settings).dump());
        must(autoencoder_json(read_autoencoder_settings(Config(again))) ==
                 autoencoder_json(settings),
             "settings read again");
    }
    TinyConfig tiny;
    if (accepted(path.string(), [&] { tiny = read_tiny_config(Config(path)); })) {
        put_text(again, tiny_json(tiny).dump());
        must(tiny_json(read_tiny_config(Config(again))) == tiny_json(tiny), "settings read again");
    }
    must(!accepted(folder().path().string(), [&] { load_coder(folder().path()); }),
         "refused without weights");
}

}  // namespace diffusion::fuzz
