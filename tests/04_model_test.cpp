// Chapter 4: models in folders, as the library diffusers has them. (That its own folders and ours
// are the same network, number by number, is in 04_peers_test.cpp.)
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "04_unet/model.hpp"
#include "04_unet/scheduler_file.hpp"
#include "04_unet/unet_file.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
using nlohmann::json;

namespace {

const std::string kWeights = "unet/diffusion_pytorch_model.safetensors";

DenoisingModel small_model(Schedule schedule = cosine_schedule(1000),
                           Prediction prediction = Prediction::x0) {
    return {unet_config(1, 8, {1, 2}, 2), std::move(schedule), prediction, 12, 8, "mnist"};
}

Array<float> values_of(const DenoisingModel& model) {
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 5);
    return values;
}

/// A folder with a small model.
struct Saved {
    TemporaryFolder folder;
    DenoisingModel model = small_model();
    Array<float> values = values_of(model);
    Saved() { model.save(path(), values); }
    std::filesystem::path path() const { return folder / "m"; }

    /// What opening says after a change to one of the folder's JSON files.
    std::string complaint(const std::string& file, const json& change) const {
        const json good = read_json(path() / file);
        json changed = good;
        changed.update(change);
        write_json(path() / file, changed);
        const std::string error = error_of([&] { load_model(path()); });
        write_json(path() / file, good);
        return error;
    }
    std::string of_unet(const json& change) const { return complaint("unet/config.json", change); }
    std::string of_scheduler(const json& change) const {
        return complaint("scheduler/scheduler_config.json", change);
    }
    /// What opening says after a change to the weights.
    template <class Change>
    std::string of_weights(Change change) const {
        const Safetensors good = read_safetensors(path() / kWeights);
        Safetensors changed = good;
        change(changed);
        write_safetensors(path() / kWeights, changed);
        const std::string error = error_of([&] { load_model(path()); });
        write_safetensors(path() / kWeights, good);
        return error;
    }
};

/// Settings that read back as they were written.
UNetConfig read_back(const UNetConfig& config, const TemporaryFolder& folder) {
    write_json(folder / "config.json", unet_config_json(config));
    return read_unet_config(Config(folder / "config.json"));
}

}  // namespace

TEST_SUITE_BEGIN("ch04 io");

TEST_CASE("a model is a pipeline's folder, and opens as it was, by any of its names") {
    const Saved saved;
    const json index = read_json(saved.path() / "model_index.json");
    CHECK(index["_class_name"] == "DDPMPipeline");
    CHECK(index["unet"] == json({"diffusers", "UNet2DModel"}));
    for (const char* name :
         {"", "unet", "unet/config.json", "model_index.json", kWeights.c_str()}) {
        const LoadedModel again = load_model(saved.path() / name);
        CHECK(again.model.height == 12);
        CHECK(again.model.width == 8);
        CHECK(again.model.data == "mnist");
        CHECK(again.model.prediction == Prediction::x0);
        CHECK(again.model.schedule.alpha_bar == saved.model.schedule.alpha_bar);
        CHECK(again.model.unet.config().channels == std::vector<int>{8, 16});
        REQUIRE(again.values.size() == saved.values.size());
        CHECK(std::memcmp(again.values.data(), saved.values.data(),
                          saved.values.size() * sizeof(float)) == 0);
    }
}

TEST_CASE("folders of old pipelines and of a UNet alone open, too") {
    const Saved saved;
    const auto flat = saved.folder / "flat";  // all in one place
    std::filesystem::create_directory(flat);
    for (const char* file : {"model_index.json", "unet/config.json", kWeights.c_str(),
                             "scheduler/scheduler_config.json"})
        std::filesystem::copy(saved.path() / file, flat / std::filesystem::path(file).filename());
    CHECK(load_model(flat).model.prediction == Prediction::x0);

    std::filesystem::copy(saved.path() / "unet", saved.folder / "alone");
    const LoadedModel alone = load_model(saved.folder / "alone");
    CHECK(alone.model.prediction == Prediction::eps);  // the scheduler's defaults
    CHECK(alone.model.schedule.name == "linear");
    CHECK(contains(alone.note, "scheduler_config.json is not there"));

    Safetensors older =
        read_safetensors(saved.folder / "alone" / "diffusion_pytorch_model.safetensors");
    for (NamedArray& array : older.arrays) {
        for (const auto& [now, then] : {std::pair{".to_q.", ".query."},
                                        {".to_k.", ".key."},
                                        {".to_v.", ".value."},
                                        {".to_out.0.", ".proj_attn."}}) {
            const std::size_t at = array.name.find(now);
            if (at != std::string::npos) array.name.replace(at, std::strlen(now), then);
        }
    }
    older.arrays.push_back({"position_ids", {2}, {0, 1}});
    std::filesystem::remove(saved.folder / "alone" / "diffusion_pytorch_model.safetensors");
    write_safetensors(saved.folder / "alone" / "diffusion_pytorch_model.fp16.safetensors", older);
    const LoadedModel again = load_model(saved.folder / "alone");
    CHECK(std::memcmp(again.values.data(), saved.values.data(),
                      saved.values.size() * sizeof(float)) == 0);
}

TEST_CASE("every setting of the UNet is read back as it was written") {
    const TemporaryFolder folder;
    UNetConfig config = unet_config(3, 16, {1, 2, 4}, 1);
    config.attention = {false, false, false};
    config.up_attention = {false, false, false};
    CHECK(read_back(config, folder) == [&] {
        UNetConfig expected = config;
        expected.heads = {1};
        return expected;
    }());
    config.out_channels = 6;
    config.blocks = 3;
    config.groups = 4;
    config.eps = 1e-6;
    config.padding = Padding::after;
    config.time = {.cosine_first = false, .shift = 1, .period = 10000};
    config.classes = 10;
    config.attention = {true, false, true};
    config.up_attention = {false, true, true};
    config.middle_attention = false;
    config.heads = {2, 4, 8};  // of 8 channels each
    CHECK(read_back(config, folder) == config);
    config.heads = {2, 4, 4};
    CHECK(contains(error_of([&] { unet_config_json(config); }),
                   "has heads of one width, not of 8 and 16 channels"));
    config.heads = {1};
    config.cross_width = 8;
    CHECK(contains(error_of([&] { unet_config_json(config); }), "no setting for a text"));
}

TEST_CASE("a UNet's settings that are not told are those of the class") {
    const TemporaryFolder folder;
    write_json(folder / "config.json", {{"_class_name", "UNet2DModel"}});
    const UNetConfig config = read_unet_config(Config(folder / "config.json"));
    CHECK(config.channels == std::vector<int>{224, 448, 672, 896});
    CHECK(config.heads == std::vector<int>{28, 56, 84, 112});  // of 8 channels
    CHECK(config.attention == std::vector<bool>{false, true, true, true});
    CHECK(config.up_attention == config.attention);
    CHECK(config.groups == 32);
    write_json(folder / "config.json",
               {{"_class_name", "UNet2DModel"}, {"attention_head_dim", nullptr}});
    CHECK(read_unet_config(Config(folder / "config.json")).heads == std::vector<int>{1});
}

TEST_CASE("which sizes of pictures the class takes") {
    const UNetConfig config = unet_config(1, 8, {1, 2, 2});
    CHECK(takes_size(config, 28, 28));
    CHECK(takes_size(config, 4, 64));
    CHECK(!takes_size(config, 28, 30));
    CHECK(!takes_size(unet_config(1, 8, {1, 2, 2, 2}), 28, 28));
}

TEST_CASE("schedules and predictions are read back, and those of other schedulers") {
    const TemporaryFolder folder;
    const auto read = [&](const json& content) {
        write_json(folder / "s.json", content);
        return read_noising(Config(folder / "s.json"));
    };
    for (const char* name : kScheduleNames) {
        for (const int T : {1000, 200}) {
            const Schedule schedule = make_schedule(name, T);
            for (const Prediction kind : {Prediction::eps, Prediction::x0, Prediction::v}) {
                const Noising again = read(scheduler_config_json(schedule, kind));
                CHECK(again.prediction == kind);
                REQUIRE(again.schedule.steps() == T);
                for (int t = 1; t <= T; ++t)
                    REQUIRE(again.schedule.alpha_bar[schedule.at(t)] ==
                            doctest::Approx(schedule.alpha_bar[schedule.at(t)]).epsilon(1e-12));
            }
        }
    }
    const Schedule pure = zero_terminal_snr(make_schedule("linear", 1000));
    CHECK(read(scheduler_config_json(pure, Prediction::v)).schedule.alpha_bar.back() == 0);
    CHECK(read({{"_class_name", "DDIMScheduler"}, {"rescale_betas_zero_snr", true}})
              .schedule.alpha_bar == pure.alpha_bar);
    const Noising large = read({{"_class_name", "DDPMScheduler"},
                                {"variance_type", "fixed_large"},
                                {"clip_sample", true},
                                {"clip_sample_range", 2.0}});
    CHECK(large.variance == Variance::large);
    CHECK(large.clip == 2);
    CHECK(read({{"_class_name", "DDIMScheduler"}, {"clip_sample", false}}).clip == 0);
    CHECK(read({{"_class_name", "DDIMScheduler"}}).clip == 1);
    // Stable Diffusion's
    const Noising stable = read({{"_class_name", "PNDMScheduler"},
                                 {"beta_schedule", "scaled_linear"},
                                 {"beta_start", 0.00085},
                                 {"beta_end", 0.012},
                                 {"set_alpha_to_one", false},
                                 {"skip_prk_steps", true}});
    CHECK(stable.schedule.alpha_bar.back() == doctest::Approx(0.00466010).epsilon(1e-5));
    CHECK(stable.prediction == Prediction::eps);
    // as Python writes it
    put_text(folder / "s.json",
             R"({"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "linear",
                 "lambda_min_clipped": -Infinity, "_note": "\" Infinity", "_x": NaN})");
    CHECK(read_noising(Config(folder / "s.json")).schedule.steps() == 1000);
}

TEST_CASE("what is not understood is refused by name") {
    const Saved saved;
    const auto refuses = [](const std::string& error, const std::string& expected) {
        INFO(error);
        CHECK(contains(error, expected));
    };
    refuses(saved.of_unet({{"resnet_time_scale_shift", "scale_shift"}}),
            "config.json: resnet_time_scale_shift is \"scale_shift\", expected \"default\"");
    refuses(saved.of_unet({{"act_fn", "mish"}}), "act_fn");
    refuses(saved.of_unet({{"mid_block_type", nullptr}}),
            "mid_block_type is null, expected \"UNet");
    refuses(saved.of_unet({{"time_embedding_type", "fourier"}}), "time_embedding_type");
    refuses(saved.of_unet({{"center_input_sample", true}}), "center_input_sample");
    refuses(saved.of_unet({{"class_embed_type", "timestep"}}),
            "class_embed_type is \"timestep\", expected null;");
    refuses(saved.of_unet({{"downsample_padding", 2}}), "downsample_padding is 2");
    refuses(saved.of_unet({{"attention_head_dim", 3}}), "a divisor of 16");
    refuses(saved.of_unet({{"down_block_types", {"DownBlock2D", "CrossAttnDownBlock2D"}}}),
            "down_block_types is");
    refuses(saved.of_unet({{"down_block_types", {"DownBlock2D"}}}), "expected 2 blocks");
    refuses(saved.of_unet({{"block_out_channels", {8, 20}}, {"attention_head_dim", 4}}),
            "a multiple of 8");
    refuses(saved.of_unet({{"block_out_channels", {8, 1'000'000'000}}}), "from 1 to 65536");
    refuses(saved.of_unet({{"block_out_channels", "8"}}), "block_out_channels is");
    refuses(saved.of_unet({{"layers_per_block", 1'000'000'000}}), "layers_per_block");
    refuses(saved.of_unet({{"block_out_channels", {16, 16}}}),
            "the parameter time_embedding.linear_1.weight has shape [32,8], expected [64,16]");
    refuses(saved.of_unet({{"in_channels", 3}}), "3 channels in, 1 out");
    refuses(saved.of_unet({{"num_class_embeds", 10}}), "10 classes");
    refuses(saved.of_unet({{"sample_size", nullptr}}), "sample_size is null");
    refuses(saved.of_unet({{"sample_size", {1, 2, 3}}}), "one number or two");
    refuses(saved.of_unet({{"a_new_setting", 1}}), "the setting \"a_new_setting\" = 1 is not");
    refuses(saved.of_unet({{"two\r\nlines", 1}}), R"(the setting "two\r\nlines" = 1 is not)");
    refuses(saved.of_unet({{"_class_name", "UNet2DConditionModel"}}),
            "the settings of a \"UNet2DConditionModel\", expected a UNet2DModel");
    refuses(saved.of_scheduler({{"_class_name", "FlowMatchEulerDiscreteScheduler"}}),
            "the scheduler \"FlowMatchEulerDiscreteScheduler\" is not understood");
    refuses(saved.of_scheduler({{"beta_schedule", "sigmoid"}}), "beta_schedule is");
    refuses(saved.of_scheduler({{"prediction_type", "flow"}}), "prediction_type is");
    refuses(saved.of_scheduler({{"thresholding", true}}), "thresholding is true");
    refuses(saved.of_scheduler({{"timestep_type", "continuous"}}), "timestep_type is");
    refuses(saved.of_scheduler({{"variance_type", "learned_range"}}), "variance_type is");
    refuses(saved.of_scheduler({{"a_new_setting", 1}}), "\"a_new_setting\" = 1 is not understood");
    refuses(saved.of_scheduler({{"clip_sample_range", 0}}), "clip_sample_range is 0");
    refuses(saved.of_unet({{"flip_sin_to_cos", nullptr}}), "flip_sin_to_cos is null");
    refuses(saved.of_scheduler({{"num_train_timesteps", 0}}), "num_train_timesteps is");
    refuses(saved.of_scheduler({{"trained_betas", {0.1}}}), "trained_betas has 1 numbers");
    refuses(saved.complaint("model_index.json", {{"unet", {"diffusers", "UNet1DModel"}}}),
            "UNet1DModel");
}

TEST_CASE("weights that do not fit, or are no numbers, are refused by name") {
    const Saved saved;
    using File = Safetensors;
    CHECK(contains(saved.of_weights([](File& f) { f.arrays.pop_back(); }), "is missing"));
    CHECK(contains(saved.of_weights([](File& f) { f.arrays[0].name = "odd"; }), "is missing"));
    CHECK(contains(saved.of_weights([](File& f) {
        f.arrays.push_back({"odd", {1}, {0}});
    }),
                   "no parameter odd"));
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        for (const std::size_t where : {std::size_t(3), std::size_t(10)}) {
            std::string name;
            const std::string error = saved.of_weights([&](File& f) {
                f.arrays[where].values.back() = bad;
                name = f.arrays[where].name;
            });
            CHECK(contains(error, "tensor \"" + name + "\": holds a number that is not finite"));
        }
    }
}

TEST_CASE("what is no model's folder says what it is") {
    const Saved saved;
    const auto complaint = [&](const std::filesystem::path& path) {
        return error_of([&] { load_model(path); });
    };
    const auto empty = saved.folder / "empty";
    std::filesystem::create_directory(empty);
    CHECK(contains(complaint(empty), "empty: holds no model: there is neither model_index.json"));
    CHECK(!holds_model(empty));
    CHECK(holds_model(saved.path()));
    CHECK(contains(complaint(saved.folder / "none"), "none: cannot read: no such file or folder"));

    write_safetensors(empty / "model.safetensors", {{{"w", {1}, {0}}}, {{"model", "unet"}}});
    CHECK(contains(complaint(empty), "train it again with 04_unet train"));
    CHECK(contains(complaint(empty / "model.safetensors"), "a model of an earlier version"));
    write_safetensors(empty / "other.safetensors", {{{"w", {1}, {0}}}, {}});
    CHECK(contains(complaint(empty / "other.safetensors"), "weights without their settings"));

    const auto pickled = saved.path() / "unet" / "diffusion_pytorch_model.bin";
    std::filesystem::rename(saved.path() / kWeights, pickled);
    put_text(pickled, "PK\x03\x04 archive/data.pkl");
    CHECK(contains(complaint(saved.path()), "diffusion_pytorch_model.bin: a pickle of PyTorch"));
    std::filesystem::remove(pickled);
    CHECK(contains(
        complaint(saved.path()),
        "there is no diffusion_pytorch_model.safetensors; the folder holds \"config.json\""));
    write_safetensors(saved.path() / "state.safetensors",
                      {{{"values", {1}, {0}}}, {{"step", "1"}, {"steps", "2"}}});
    CHECK(contains(complaint(saved.path() / "state.safetensors"),
                   "the state of a training; name its folder, " + saved.path().string()));
    put_text(empty / "model_index.json", R"({"unet": ["diffusers", "UNet2DConditionModel"]})");
    CHECK(contains(complaint(empty),
                   "model_index.json: its unet is a \"UNet2DConditionModel\", "
                   "expected a UNet2DModel of diffusers"));
    put_text(saved.path() / "unet" / "config.json", "version https://git-lfs.github.com/spec/v1\n");
    CHECK(contains(complaint(saved.path()), "config.json: a Git LFS pointer"));
    put_text(saved.path() / "unet" / "config.json", "[1]");
    CHECK(contains(complaint(saved.path()), "config.json: expected an object of settings"));
}
