// A model's settings: config.json of the network, a line with ---, scheduler_config.json. Its
// weights are good.
#include "04_unet/model.hpp"
#include "04_unet/scheduler_file.hpp"
#include "04_unet/unet_file.hpp"
#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

constexpr const char* kBetween = "\n---\n";

const std::filesystem::path& good_model() {
    static const std::filesystem::path path = [] {
        const DenoisingModel model(unet_config(1, 8, {1}, 1), linear_schedule(40), Prediction::eps,
                                   4, 4, "mnist");
        Array<float> values(model.parameters.block());
        model.parameters.initialise<float>(values, 1);
        model.save(folder() / "good", values);
        return folder() / "good";
    }();
    return path;
}

}  // namespace

std::vector<std::string> seeds() {
    UNetConfig small = unet_config(1, 8, {1}, 1), large = unet_config(3, 64, {1, 2, 4}, 8);
    large.attention = {false, true, true};
    large.up_attention = {true, false, true};
    large.padding = Padding::after;
    large.time = {.cosine_first = false, .shift = 1, .period = 10000};
    large.classes = 10;
    large.heads = {8, 16, 32};
    std::vector<std::string> all;
    for (const UNetConfig& config : {small, large}) {
        nlohmann::json unet = unet_config_json(config);
        unet["sample_size"] = 4;
        for (const char* schedule : {"linear", "cosine", "sigmoid"})
            all.push_back(unet.dump() + kBetween +
                          scheduler_config_json(make_schedule(schedule, 40), Prediction::v).dump());
    }
    all.push_back(R"({"_class_name": "UNet2DModel", "sample_size": [4, 8], "act_fn": "swish"})" +
                  std::string(kBetween) +
                  R"({"_class_name": "PNDMScheduler", "rescale_betas_zero_snr": true,
                      "beta_schedule": "scaled_linear", "lambda_min_clipped": -Infinity})");
    return all;
}

void check(const std::string& input) {
    const auto &path = good_model(), again = folder() / "again";
    const std::size_t between = std::min(input.find(kBetween), input.size());
    put_text(path / "unet" / "config.json", input.substr(0, between));
    put_text(path / "scheduler" / "scheduler_config.json",
             input.substr(std::min(between + std::strlen(kBetween), input.size())));
    const auto unet = path / "unet" / "config.json";
    UNetConfig settings;
    if (accepted(unet.string(), [&] { settings = read_unet_config(Config(unet)); })) {
        put_text(folder() / "x.json", unet_config_json(settings).dump());
        const UNetConfig same = read_unet_config(Config(folder() / "x.json"));
        must(unet_config_json(same) == unet_config_json(settings), "settings read again");
    }
    std::optional<LoadedModel> loaded;
    if (!accepted(path.string(), [&] { loaded.emplace(load_model(path)); })) return;
    loaded->model.save(again, loaded->values);
    must(same_bits<float>(load_model(again).values, loaded->values), "written and read again");
}

}  // namespace diffusion::fuzz
