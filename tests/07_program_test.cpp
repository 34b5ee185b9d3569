// Chapter 7: the program, from outside.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "07_latent_vae/autoencoder_file.hpp"
#include "07_latent_vae/latent_set.hpp"
#include "07_latent_vae/pictures.hpp"
#include "io/csv.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/npy.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/small_mnist.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

/// A folder with the small data set, an autoencoder and a diffusion that have hardly learned.
struct World {
    TemporaryFolder folder;
    fs::path out = folder / "trained";
    World() {
        write_small_mnist(folder.path());
        for (const char* job : {"train", "diffuse"}) {
            const ProcessResult done = run({job, "--preset", "smoke"});
            INFO(done.err);
            REQUIRE(done.exit_code == 0);
        }
    }
    ProcessResult run(std::vector<std::string> arguments, const fs::path& to = {},
                      const ProcessOptions& options = {}) const {
        arguments.insert(arguments.begin(), "07_latent_vae");
        arguments.insert(arguments.end(), {"--data", folder.path().string(), "--out",
                                           (to.empty() ? out : to).string()});
        return run_program(arguments, options);
    }
};
const World& world() {
    static const World made;
    return made;
}

/// What a run says of itself.
double number_of(const fs::path& out, const std::string& name) {
    const nlohmann::json result = read_json(out / "run.json");
    for (const auto& entry : result.at("numbers"))
        if (entry.at("name") == name) return entry.at("value").get<double>();
    FAIL("no number ", name);
    return 0.0;
}

}  // namespace

TEST_SUITE_BEGIN("ch07 cli");

TEST_CASE("training writes an autoencoder and a pipeline of diffusers, pictures and tables") {
    const fs::path& out = world().out;
    for (const char* file :
         {"vqvae/config.json", "vqvae/diffusion_pytorch_model.safetensors",
          "vqvae/state.safetensors", "vqvae/train.csv", "model_index.json", "unet/config.json",
          "scheduler/scheduler_config.json", "state.safetensors", "reconstructions.png",
          "progress.png", "latents.png", "prior.png", "walks.png", "latents.csv", "run.json"})
        CHECK(fs::exists(out / file));
    const nlohmann::json index = read_json(out / "model_index.json");
    CHECK(index["_class_name"] == "LDMPipeline");
    CHECK(index["vqvae"] == nlohmann::json({"diffusers", "AutoencoderKL"}));
    // With the scale that the folder tells, posteriors of pictures have mean square 1, after a
    // training of any length.
    LoadedAutoencoder loaded = load_autoencoder(out);
    const Array<float> x =
        find_pictures("scenes", world().folder.path().string(), 8, 1).learned(0, 64);
    const LatentSet set =
        encode_posteriors(loaded.model, loaded.model.scale, loaded.values, x.tensor());
    double square = 0;
    for (std::ptrdiff_t i = 0; i < set.mean.shape().numel(); ++i) {
        const double mean = static_cast<double>(set.mean.data()[i]),
                     deviation = static_cast<double>(set.deviation.data()[i]);
        square += mean * mean + deviation * deviation;
    }
    CHECK(square / static_cast<double>(set.mean.shape().numel()) ==
          doctest::Approx(1).epsilon(0.05));
    CHECK(read_csv(out / "vqvae/train.csv").rows.size() == 8);
    // The channels' nats are those of the picture.
    double nats = 0;
    const CsvTable channels = read_csv(out / "latents.csv");
    for (const auto& row : channels.rows) nats += row.at(3);
    CHECK(channels.rows.size() == 4);
    CHECK(nats == doctest::Approx(number_of(out, "KL")).epsilon(1e-6));
}

TEST_CASE("latents of a wrong scale are an experiment, which writes down what it did") {
    const TemporaryFolder folder;
    const fs::path wrong = folder / "wrong";
    const auto factor = [](const fs::path& out) {
        return read_json(out / "vqvae/config.json")["scaling_factor"].get<double>();
    };
    const std::vector<std::string> options = {"diffuse", "--preset", "smoke", "--scale-by", "4"};
    CHECK(contains(world().run(options, wrong).err, "--scale-by: give the autoencoder's folder"));
    std::vector<std::string> with_vae = options;
    with_vae.insert(with_vae.end(), {"--vae", world().out.string()});
    CHECK(world().run(with_vae, wrong).exit_code == 0);
    CHECK(factor(wrong) == doctest::Approx(4 * factor(world().out)));
    CHECK(read_json(wrong / "run.json")["settings"]["signal-to-noise times"] == "16");
    CHECK(world().run({"sample", "--n", "2", "--steps", "2"}, wrong).exit_code == 0);
}

TEST_CASE("the judges read what an autoencoder decodes, and measure how far samples are") {
    const TemporaryFolder folder;
    const fs::path out = folder / "judge";
    const std::vector<std::string> few = {"judge", "--preset", "smoke", "--n", "60"};
    const auto asked = [&](const char* option, const fs::path& of) {
        std::vector<std::string> arguments = few;
        arguments.insert(arguments.end(), {option, of.string()});
        return world().run(arguments, out);
    };
    const ProcessResult decoded = asked("--vae", world().out);
    CHECK(decoded.exit_code == 0);
    CHECK(contains(decoded.out, "decoded"));
    CHECK(contains(decoded.out, "scenes: thing"));
    CHECK(!contains(decoded.out, "words:"));
    const auto number = [&](const char* name) { return number_of(out, name); };
    CHECK(number("scenes: ground") > 0.95);  // of pixels, so it needs no training
    CHECK(number("scenes: place") > 0.95);
    CHECK(number("scenes: thing") > 0.2);  // of ten; of 2,000 quarters there is little to learn
    // An autoencoder that has seen 64 canvases leaves nothing that could be read.
    CHECK(number("scenes: all, decoded") < 0.1);
    CHECK(number("scenes: thing, decoded") < number("scenes: thing"));
    REQUIRE(world().run({"canvases", "--n", "60"}, folder / "real").exit_code == 0);
    const ProcessResult distance = asked("--samples", folder / "real/canvases");
    CHECK(distance.exit_code == 0);
    CHECK(contains(distance.out, "Frechet distance to 1000 scenes"));
    CHECK(contains(distance.out, "60 canvases"));
    // Canvases of the training set are as near to it as others, but for the chance of 60.
    CHECK(number("Frechet distance, other scenes") > 0);
    CHECK(number("Frechet distance, samples") < 2 * number("Frechet distance, other scenes"));
    fs::create_directory(folder / "grey");
    for (int i = 0; i < 60; ++i)
        write_png(folder / "grey" / (std::to_string(i) + ".png"),
                  {64, 64, 3, std::vector<std::uint8_t>(3 * 64 * 64, 128)});
    const double real = number("Frechet distance, samples");
    CHECK(asked("--samples", folder / "grey").exit_code == 0);
    CHECK(number("Frechet distance, samples") > 2 * real);
    write_png(folder / "small.png", {8, 8, 3, std::vector<std::uint8_t>(192)});
    fs::create_directory(folder / "small");
    fs::rename(folder / "small.png", folder / "small" / "a.png");
    CHECK(contains(asked("--samples", folder / "small").err, "pictures of 8 x 8 x 3, expected"));
}

TEST_CASE(
    "a diffusion of pixels draws, also beside an autoencoder that it has nothing to do with") {
    const TemporaryFolder folder;
    const fs::path out = folder / "run";
    fs::create_directory(out);
    fs::copy(world().out / "vqvae", out / "vqvae", fs::copy_options::recursive);
    const ProcessResult trained =
        world().run({"diffuse", "--pixels", "--preset", "smoke", "--images", "32"}, out);
    INFO(trained.err);
    CHECK(trained.exit_code == 0);
    const ProcessResult drawn = world().run({"sample", "--n", "2", "--steps", "2"}, out);
    INFO(drawn.err);
    CHECK(drawn.exit_code == 0);
    CHECK(contains(drawn.out, "pixels"));
}

TEST_CASE("canvases and what is said of them become a folder that is read again") {
    const TemporaryFolder folder;
    const fs::path out = folder / "out", again = folder / "again";
    const ProcessResult shown = world().run({"canvases", "--n", "3"}, out);
    CHECK(shown.exit_code == 0);
    CHECK(fs::exists(out / "canvases.png"));
    const std::string own = "folder:" + (out / "canvases").string();
    CHECK(world().run({"canvases", "--n", "3", "--dataset", own}, again).exit_code == 0);
    for (const char* file : {"00000.png", "00002.png", "captions.csv"})
        CHECK(get_text(again / "canvases" / file) == get_text(out / "canvases" / file));
    const ProcessResult none = world().run({"canvases", "--dataset", "emoji"}, out);
    CHECK(none.exit_code == 1);
    CHECK(contains(none.err, "no emoji in"));
}

TEST_CASE("a training that was stopped goes on to the same bits") {
    const TemporaryFolder folder;
    const std::vector<std::string> options = {"train", "--preset",     "smoke", "--images",
                                              "640",   "--save-every", "4"};
    const fs::path whole = folder / "whole", parts = folder / "parts";
    REQUIRE(world().run(options, whole).exit_code == 0);
    const ProcessResult stopped =
        world().run(options, parts, {.send_signal = SIGINT, .signal_at = "train 64"});
    CHECK(stopped.exit_code == 130);
    const ProcessResult resumed = world().run({"train", "--resume"}, parts);
    CHECK(resumed.exit_code == 0);
    for (const char* file : {"vqvae/state.safetensors", "vqvae/config.json",
                             "vqvae/diffusion_pytorch_model.safetensors", "reconstructions.png"})
        CHECK(get_text(parts / file) == get_text(whole / file));
    const ProcessResult other = world().run({"train", "--resume", "--kl-weight", "1"}, parts);
    CHECK(other.exit_code == 1);
    CHECK(contains(other.err, "this run has kl weight \"1\""));
    const ProcessResult absolute = world().run({"train", "--resume", "--absolute", "1"}, parts);
    CHECK(absolute.exit_code == 1);
    CHECK(contains(absolute.err, "this run has absolute \"1\""));
}

TEST_CASE("a diffusion of latents that was stopped goes on to the same bits") {
    const TemporaryFolder folder;
    const std::vector<std::string> options = {
        "diffuse",      "--preset", "smoke", "--images",          "320", "--set", "32",
        "--save-every", "4",        "--vae", world().out.string()};
    const fs::path whole = folder / "whole", parts = folder / "parts";
    REQUIRE(world().run(options, whole).exit_code == 0);
    const ProcessResult stopped =
        world().run(options, parts, {.send_signal = SIGINT, .signal_at = "train 64"});
    CHECK(stopped.exit_code == 130);
    CHECK(world().run({"diffuse", "--resume"}, parts).exit_code == 0);
    for (const char* file : {"state.safetensors", "unet/diffusion_pytorch_model.safetensors",
                             "vqvae/config.json", "progress.png"})
        CHECK(get_text(parts / file) == get_text(whole / file));
    const ProcessResult other = world().run({"diffuse", "--resume", "--set", "16"}, parts);
    CHECK(other.exit_code == 1);
    CHECK(contains(other.err, "this run has latents \"16\""));
}

TEST_CASE("a new training keeps the earlier one whole, and --resume goes on with a diffusion") {
    const TemporaryFolder folder;
    fs::copy(world().out, folder / "run", fs::copy_options::recursive);
    const std::string first = get_text(folder / "run" / "vqvae" / "state.safetensors");
    const ProcessResult more = world().run({"diffuse", "--resume"}, folder / "run");
    CHECK(more.exit_code == 0);  // it had made all of its steps
    const ProcessResult again =
        world().run({"diffuse", "--preset", "smoke", "--seed", "2"}, folder / "run");
    CHECK(again.exit_code == 0);
    const fs::path earlier = folder / "run" / "earlier_1";
    CHECK(world()
              .run({"sample", "--n", "1", "--steps", "2", "--model", earlier.string()},
                   folder / "drawn")
              .exit_code == 0);
    CHECK(world().run({"diffuse", "--resume"}, earlier).exit_code == 0);
    const ProcessResult anew =
        world().run({"train", "--preset", "smoke", "--seed", "3"}, folder / "run");
    CHECK(anew.exit_code == 0);
    CHECK(contains(anew.out, "the earlier training here is kept in " +
                                 (folder / "run" / "earlier_2").string()));
    CHECK(get_text(folder / "run" / "earlier_2" / "vqvae" / "state.safetensors") == first);
    CHECK(!fs::exists(folder / "run" / "model_index.json"));  // it belonged to the other one
    CHECK(world()
              .run({"sample", "--n", "1", "--steps", "2"}, folder / "run" / "earlier_2")
              .exit_code == 0);

    fs::remove_all(folder / "run" / "earlier_2" / "vqvae");
    const ProcessResult without =
        world().run({"sample", "--n", "1", "--steps", "2"}, folder / "run" / "earlier_2");
    CHECK(without.exit_code == 1);
    CHECK(contains(without.err, "draws latents, which need their autoencoder"));
    const ProcessResult other = world().run(
        {"diffuse", "--preset", "smoke", "--vae", world().out.string()}, folder / "run");
    CHECK(other.exit_code == 1);
    CHECK(contains(other.err, "holds an autoencoder already"));
}

TEST_CASE("pictures of any size are encoded, decoded and reconstructed, and cut to multiples") {
    const TemporaryFolder folder;
    write_png(folder / "mine.png", noise(70, 33, 3, 256));
    const ProcessResult encoded = world().run(
        {"encode", "--model", world().out.string(), "--image", (folder / "mine.png").string()},
        folder / "coded");
    CHECK(encoded.exit_code == 0);
    CHECK(contains(encoded.out, "70 x 33 pixels are not multiples of 8; the middle 64 x 32"));
    const NpyArray latent = read_npy(folder / "coded" / "latent_1.npy");
    CHECK(latent.shape == std::vector<int>{1, 8, 4, 4});
    const ProcessResult decoded =
        world().run({"decode", "--model", world().out.string(), "--latents",
                     (folder / "coded" / "latent_1.npy").string()},
                    folder / "coded");
    CHECK(decoded.exit_code == 0);
    CHECK(read_image(folder / "coded" / "decoded_1.png").height == 64);
    CHECK(world()
              .run({"reconstruct", "--model", world().out.string(), "--image",
                    (folder / "mine.png").string()},
                   folder / "coded")
              .exit_code == 0);
    CHECK(fs::exists(folder / "coded" / "reconstructed_1.png"));
    const auto decode = [&](const Shape& shape) {
        const Array<float> numbers(shape);
        write_npy(folder / "given.npy", numbers.tensor());
        return world().run({"decode", "--model", world().out.string(), "--latents",
                            (folder / "given.npy").string()},
                           folder / "coded");
    };
    CHECK(contains(decode({0, 8, 8, 4}).err,
                   "given.npy: has numbers [0,8,8,4], expected float32 numbers [N,h,w,4]"));
    CHECK(contains(decode({1, 8, 8, 3}).err, "given.npy: has numbers [1,8,8,3], expected"));
    write_png(folder / "small.png", noise(7, 9, 3, 256));
    const ProcessResult small = world().run(
        {"encode", "--model", world().out.string(), "--image", (folder / "small.png").string()},
        folder / "coded");
    CHECK(small.exit_code == 1);
    CHECK(contains(small.err, "small.png: a picture of 7 x 9 pixels, expected 8 at least"));
}

TEST_CASE("a pipeline in half precision is half as large and opens as before") {
    const TemporaryFolder folder;
    const fs::path half = folder / "half";
    const auto halve = [&](const fs::path& from) {
        return run_program({"halve", "--model", from.string(), "--out", half.string()});
    };
    const ProcessResult made = halve(world().out);
    CHECK(made.exit_code == 0);
    CHECK(contains(made.out, "rounding changed them by up to"));
    for (const char* part : {"vqvae", "unet"}) {
        const auto size = [&](const fs::path& of) {
            return static_cast<double>(
                fs::file_size(of / part / "diffusion_pytorch_model.safetensors"));
        };
        CHECK(size(half) < 0.6 * size(world().out));
    }
    CHECK(!fs::exists(half / "vqvae" / "state.safetensors"));
    const auto drawn = [&](const fs::path& model, const char* to) {
        CHECK(world()
                  .run({"sample", "--model", model.string(), "--n", "2", "--steps", "2",
                        "--save-npy"},
                       folder / to)
                  .exit_code == 0);
        return read_npy(folder / to / "samples.npy").values;
    };
    const auto a = drawn(world().out, "a"), b = drawn(half, "b");
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 0.02f);
    CHECK(halve(world().out).err.find("is there already") != std::string::npos);
    fs::remove_all(half);
    CHECK(contains(halve(folder / "nothing").err, "is no folder"));
    fs::create_directory(folder / "empty");
    CHECK(contains(halve(folder / "empty").err, "no model"));
    put_text(folder / "empty" / "config.json", "{}");
    CHECK(contains(halve(folder / "empty").err, "no diffusion_pytorch_model.safetensors"));
    CHECK(!fs::exists(half));  // and nothing is left of it
    CHECK(!fs::exists(folder / "half.part"));
}

TEST_CASE("drawing decodes latents; the same seed gives the same bytes") {
    const TemporaryFolder folder;
    const auto draw = [&](const char* name, const char* seed) {
        return world().run(
            {"sample", "--model", world().out.string(), "--n", "3", "--steps", "4", "--seed", seed},
            folder / name);
    };
    for (const char* name : {"one", "two"}) CHECK(draw(name, "5").exit_code == 0);
    CHECK(draw("three", "6").exit_code == 0);
    const Image picture = read_image(folder / "one" / "samples.png");
    CHECK(picture.channels == 3);
    CHECK(get_text(folder / "one" / "samples.idx") == get_text(folder / "two" / "samples.idx"));
    CHECK(get_text(folder / "one" / "samples.idx") != get_text(folder / "three" / "samples.idx"));
}

TEST_CASE("a diffusion and an autoencoder that do not belong together are refused by name") {
    const TemporaryFolder folder;
    fs::copy(world().out, folder / "copy", fs::copy_options::recursive);
    const fs::path config = folder / "copy" / "vqvae" / "config.json";
    nlohmann::json changed = read_json(config);
    changed["scaling_factor"] = 0.18215;
    write_json(config, changed);
    const ProcessResult scale =
        world().run({"sample", "--n", "1", "--steps", "2"}, folder / "copy");
    CHECK(scale.exit_code == 1);
    CHECK(contains(scale.err, "its network learned latents with scaling_factor"));
    CHECK(contains(scale.err, "its autoencoder's have 0.18215"));

    const ProcessResult shape =
        world().run({"train", "--preset", "smoke", "--latent-channels", "2"}, folder / "other");
    REQUIRE(shape.exit_code == 0);
    fs::remove_all(folder / "copy" / "vqvae");
    fs::copy(folder / "other" / "vqvae", folder / "copy" / "vqvae", fs::copy_options::recursive);
    const ProcessResult channels =
        world().run({"sample", "--n", "1", "--steps", "2"}, folder / "copy");
    CHECK(channels.exit_code == 1);
    CHECK(contains(channels.err, "its network draws 4 channels, its autoencoder has latents of 2"));

    // One level less: latents of 16 x 16, which say that they have the same scale.
    REQUIRE(world()
                .run({"train", "--preset", "smoke", "--channels", "8,16,16"}, folder / "larger")
                .exit_code == 0);
    nlohmann::json larger = read_json(folder / "larger" / "vqvae" / "config.json");
    larger["scaling_factor"] =
        read_json(world().out / "vqvae" / "config.json")["scaling_factor"].get<double>();
    fs::remove_all(folder / "copy" / "vqvae");
    fs::copy(folder / "larger" / "vqvae", folder / "copy" / "vqvae", fs::copy_options::recursive);
    write_json(config, larger);
    const ProcessResult size = world().run({"sample", "--n", "1", "--steps", "2"}, folder / "copy");
    CHECK(size.exit_code == 1);
    CHECK(contains(size.err, "its network draws latents of 8 x 8, its autoencoder makes 16 x 16"));

    const ProcessResult pixels = run_program({"04_unet", "sample", "--model", world().out.string(),
                                              "--out", (folder / "pixels").string()});
    CHECK(pixels.exit_code == 1);
    CHECK(contains(pixels.err, "draws latents, which need their autoencoder"));
}

TEST_CASE("diffusion of the pixels themselves, and what help says") {
    const TemporaryFolder folder;
    REQUIRE(
        world().run({"diffuse", "--pixels", "--preset", "smoke"}, folder / "pixels").exit_code ==
        0);
    CHECK(world().run({"sample", "--n", "2", "--steps", "3"}, folder / "pixels").exit_code == 0);
    CHECK(read_json(folder / "pixels" / "model_index.json")["_class_name"] == "DDPMPipeline");
    const ProcessResult help = run_program({"07_latent_vae", "diffuse", "--help"});
    for (const char* option : {"--pixels", "--vae", "--set", "--preset", "--resume", "--device"})
        CHECK(contains(help.out, option));
}

TEST_SUITE_END();
