// Chapter 6: the program, from outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "06_ddim/grids.hpp"
#include "06_ddim/samplers.hpp"
#include "data/idx.hpp"
#include "data/strokes.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/npy.hpp"
#include "io/safetensors.hpp"
#include "support/exif.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/small_mnist.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/arena.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

/// A folder with the small data set and a model that has hardly learned from it.
struct World {
    TemporaryFolder folder;
    std::string model;
    World() {
        write_small_mnist(folder.path());
        REQUIRE(run_program({"04_unet", "train", "--preset", "smoke", "--data",
                             folder.path().string(), "--out", (folder / "04_unet").string()})
                    .exit_code == 0);
        model = (folder / "04_unet").string();
    }
};
const World& world() {
    static const World made;
    return made;
}

ProcessResult run(std::vector<std::string> arguments, const std::filesystem::path& out) {
    arguments.insert(arguments.begin(), "06_ddim");
    arguments.insert(arguments.end(), {"--preset", "smoke", "--data",
                                       world().folder.path().string(), "--out", out.string()});
    return run_program(arguments);
}

}  // namespace

TEST_SUITE_BEGIN("ch06 cli");

TEST_CASE("the experiment runs with and without a model, the same for any number of threads") {
    const TemporaryFolder folder;
    const ProcessResult without = run({}, folder / "nothing" / "06_ddim");
    INFO(without.err);
    REQUIRE(without.exit_code == 0);
    CHECK(contains(without.out, "04_unet makes one"));
    CHECK(read_csv(folder / "nothing" / "06_ddim" / "orders.csv").rows.size() == 20);
    for (const std::string threads : {"1", "2"}) {
        const ProcessResult with =
            run({"--model", world().model, "--threads", threads}, folder / threads / "06_ddim");
        INFO(with.err);
        REQUIRE(with.exit_code == 0);
        CHECK(read_csv(folder / threads / "06_ddim" / "quality.csv").rows.size() == 5);
        CHECK(read_csv(folder / threads / "06_ddim" / "grids.csv").rows.size() == kGrids.size());
    }
    for (const std::string file : {"quality.csv", "grids.csv"}) {  // all but the seconds
        CAPTURE(file);
        std::vector<std::vector<double>> one = read_csv(folder / "1" / "06_ddim" / file).rows,
                                         two = read_csv(folder / "2" / "06_ddim" / file).rows;
        for (auto* rows : {&one, &two}) {
            for (std::vector<double>& row : *rows) row[3] = 0;
        }
        CHECK(one == two);
    }
    for (const std::string file :
         {"orders.csv", "interpolation.png", "inversion.png", "inpainting.png", "edit.png"}) {
        CAPTURE(file);
        CHECK(read_file(folder / "1" / "06_ddim" / file) ==
              read_file(folder / "2" / "06_ddim" / file));
    }
}

TEST_CASE("sample: every sampler and grid, from the seed or from given noise") {
    const TemporaryFolder folder;
    const auto sample = [&](const char* name, std::vector<std::string> more) {
        std::vector<std::string> arguments{"sample", "--model", world().model, "--steps",
                                           "3",      "--n",     "4",           "--save-npy"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const ProcessResult result = run(arguments, folder / name);
        INFO(result.err);
        REQUIRE(result.exit_code == 0);
        return read_npy(folder / name / "samples.npy").values;
    };
    std::set<std::vector<float>> drawn;  // all differ
    for (const std::string& sampler : sampler_names())
        drawn.insert(sample(sampler.c_str(), {"--sampler", sampler}));
    CHECK(drawn.size() == 5);
    for (const char* grid : {"trailing", "leading", "linspace", "karras", "logsnr"})
        drawn.insert(sample(grid, {"--grid", grid}));
    CHECK(drawn.size() == 10);
    CHECK(drawn.contains(sample("late", {"--grid", "late"})));  // ddim's own
    for (const auto& pictures : drawn) CHECK(pictures.size() == 4 * 784);
    const auto one = sample("1", {"--threads", "1"}), two = sample("2", {"--threads", "2"});
    CHECK(one == two);
    CHECK(sample("noisy", {"--eta", "1"}) != one);
    CHECK(read_idx_images(folder / "1" / "samples.idx").shape == std::vector<int>{4, 28, 28});
    // The noise of the seed as a file gives the same pictures.
    Arena arena;
    const Tensor<float> noise = arena.make<float>({4, 28, 28, 1});
    for (int n = 0; n < 4; ++n)
        fill_normal(noise[n], Random(1, Purpose::start_noise, 0, static_cast<std::uint32_t>(n)));
    write_npy(folder / "noise.npy", noise);
    CHECK(sample("given", {"--noise", (folder / "noise.npy").string()}) == one);
}

TEST_CASE("--help says of each sampler and each grid what it is") {
    const std::string samplers = run_program({"06_ddim", "sample", "--help"}).out,
                      grids = run_program({"06_ddim", "--help"}).out;
    for (const SamplerOf<float>& sampler : kSamplers<float>)
        CHECK(contains(samplers, sampler.what));
    for (const Grid& grid : kGrids) CHECK(contains(grids, grid.what));
    for (const char* option : {"--model", "--steps", "--grid", "--device", "--sampler", "--out"}) {
        CAPTURE(option);
        CHECK(contains(samplers, option));
    }
}

TEST_CASE("invert, interpolate, inpaint and edit take a picture of any size, or a test digit") {
    const TemporaryFolder folder;
    std::filesystem::path out;
    std::string printed;
    int runs = 0;
    write_png(folder / "a.png", noise(50, 40, 3, 256, 1));
    write_png(folder / "b.png", noise(28, 28, 1, 256, 2));
    const std::string a = (folder / "a.png").string(), b = (folder / "b.png").string();
    const auto works = [&](std::vector<std::string> arguments, const char* file) {
        arguments.insert(arguments.end(), {"--model", world().model, "--steps", "2"});
        out = folder / std::to_string(++runs);  // nothing of the run before
        const ProcessResult result = run(arguments, out);
        printed = result.out;
        CAPTURE(arguments[0]);
        INFO(result.err);
        CHECK(result.exit_code == 0);
        CHECK(contains(result.out, file));
        CHECK(std::filesystem::exists(out / file));
    };
    works({"invert"}, "inversion.png");
    CHECK(contains(printed, "the first step back, from t = 0 to 500, is not solved"));
    works({"invert", "--image", a, "--negative", "--rounds", "1"}, "inversion.png");
    CHECK(read_npy(out / "noise.npy").shape == std::vector<int>{1, 28, 28, 1});
    works({"interpolate", "--n", "5"}, "interpolation.png");
    works({"interpolate", "--image", a, "--second", b}, "interpolation.png");
    works({"inpaint", "--n", "3"}, "inpainting.png");
    works({"inpaint", "--image", a, "--mask", b, "--repeats", "2"}, "inpainting.png");
    works({"edit", "--strength", "0.7"}, "edit.png");
    works({"edit", "--image", b, "--sampler", "ddpm"}, "edit.png");
}

TEST_CASE("a photograph that lies on its side is turned before it is used") {
    const TemporaryFolder folder;
    const Image upright = noise(28, 28, 1, 256, 4);
    Image on_its_side = upright;  // turned to the left: shown, it is turned to the right (6)
    for (int y = 0; y < 28; ++y) {
        for (int x = 0; x < 28; ++x)
            on_its_side.pixels[static_cast<std::size_t>((27 - x) * 28 + y)] =
                upright.pixels[static_cast<std::size_t>(y * 28 + x)];
    }
    write_png(folder / "a.png", upright);
    write_png(folder / "b.png", on_its_side);
    orient_png(folder / "b.png", 6);
    for (const char* name : {"a", "b"}) {
        const ProcessResult result =
            run({"invert", "--model", world().model, "--steps", "2", "--image",
                 (folder / (std::string(name) + ".png")).string()},
                folder / name);
        INFO(result.err);
        REQUIRE(result.exit_code == 0);
    }
    CHECK(read_file(folder / "a" / "inversion.png") == read_file(folder / "b" / "inversion.png"));
}

TEST_CASE("a damaged picture is told before anything else is") {
    const TemporaryFolder folder;
    write_png(folder / "a.png", noise(28, 28, 1, 256, 1));
    const std::string good = (folder / "a.png").string(), bad = (folder / "cut.png").string();
    put_text(bad, get_text(good).substr(0, 150));
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{"invert", "--image", bad},
                                               {"interpolate", "--image", good, "--second", bad},
                                               {"inpaint", "--image", bad},
                                               {"inpaint", "--image", good, "--mask", bad},
                                               {"edit", "--image", bad}}) {
        std::vector<std::string> all = arguments;
        all.insert(all.end(), {"--model", world().model});
        const ProcessResult result = run(all, folder / "out");
        CAPTURE(arguments[0]);
        CHECK(result.exit_code == 1);
        CHECK(result.out == "");
        CHECK(contains(result.err,
                       "cut.png: not a picture that can be read: the PNG ends at byte 150"));
    }
}

TEST_CASE("test pictures are those of the data that the model learned, or there are none") {
    const TemporaryFolder folder;
    const auto trained = [&](const std::string& dataset, const char* name) {
        REQUIRE(run_program({"04_unet", "train", "--preset", "smoke", "--dataset", dataset, "--out",
                             (folder / name).string()})
                    .exit_code == 0);
        return (folder / name).string();
    };
    const std::string builtin = trained("builtin", "builtin");
    const ProcessResult good =
        run({"invert", "--model", builtin, "--steps", "2"}, folder / "inverted");
    INFO(good.err);
    CHECK(good.exit_code == 0);  // although --data names another set
    std::filesystem::create_directory(folder / "pictures");
    write_png(folder / "pictures" / "a.png", noise(28, 28, 1, 256, 1));
    const std::string of_folder = trained("folder:" + (folder / "pictures").string(), "folder");
    for (const char* command : {"invert", "inpaint", "edit"}) {
        const ProcessResult bad = run({command, "--model", of_folder}, folder / "out");
        CHECK(bad.exit_code == 1);
        CHECK(contains(bad.err, "the model learned a folder, which has no test pictures"));
    }
    const ProcessResult experiment = run({"--model", of_folder}, folder / "out");
    CHECK(experiment.exit_code == 1);
    CHECK(contains(experiment.err, "the model learned a folder"));
}

TEST_CASE("a folder that does not tell what its model learned draws, but edits no test picture") {
    const TemporaryFolder folder;
    std::filesystem::copy(world().model, folder / "m", std::filesystem::copy_options::recursive);
    const auto weights = folder / "m" / "unet" / "diffusion_pytorch_model.safetensors";
    Safetensors file = read_safetensors(weights);
    file.metadata = {{"format", "pt"}};  // as diffusers writes it
    write_safetensors(weights, file);
    const std::string model = (folder / "m").string();
    const ProcessResult all = run({"--model", model}, folder / "all");
    INFO(all.err);
    REQUIRE(all.exit_code == 0);
    CHECK(std::filesystem::exists(folder / "all" / "interpolation.png"));
    CHECK(!std::filesystem::exists(folder / "all" / "quality.csv"));
    for (const char* job : {"invert", "edit", "inpaint"}) {
        const ProcessResult refused = run({job, "--model", model, "--steps", "2"}, folder / job);
        CHECK(refused.exit_code == 1);
        CHECK(contains(refused.err, "m: does not tell what the model learned; give a picture"));
    }
    const ProcessResult measured =
        run_program({"05_measuring", "--preset", "smoke", "--data", world().folder.path().string(),
                     "--model", model, "--out", (folder / "measured").string()});
    CHECK(measured.exit_code == 1);
    INFO(measured.err);
    CHECK(contains(measured.err, "m: does not tell what the model learned, so there is nothing"));
}

TEST_CASE("guesses are clipped as the model's scheduler says, unless --clip says otherwise") {
    const TemporaryFolder folder;
    std::filesystem::copy(world().model, folder / "m", std::filesystem::copy_options::recursive);
    const auto scheduler = folder / "m" / "scheduler" / "scheduler_config.json";
    nlohmann::json config = read_json(scheduler);
    const auto largest = [&](std::vector<std::string> more) {
        more.insert(more.begin(), {"sample", "--model", (folder / "m").string(), "--steps", "3",
                                   "--n", "2", "--save-npy"});
        REQUIRE(run(more, folder / "out").exit_code == 0);
        float most = 0;
        for (const float v : read_npy(folder / "out" / "samples.npy").values)
            most = std::max(most, std::abs(v));
        return most;
    };
    config["clip_sample_range"] = 0.05;
    write_json(scheduler, config);
    CHECK(largest({}) <= 0.0501f);
    CHECK(largest({"--clip", "0.02"}) <= 0.0201f);
    const float unclipped = largest({"--clip", "0"});
    CHECK(unclipped > 0.1f);
    config["clip_sample"] = false;
    write_json(scheduler, config);
    CHECK(largest({}) == unclipped);
}

TEST_CASE("what cannot be done is told in one line") {
    const TemporaryFolder folder;
    const auto complaint = [&](std::vector<std::string> arguments, int code) {
        const ProcessResult result = run(arguments, folder / "out");
        CHECK(result.exit_code == code);
        CHECK(std::ranges::count(result.err, '\n') == 1);
        return result.err;
    };
    const std::string& model = world().model;
    CHECK(contains(complaint({"sample"}, 1),
                   "04_unet: cannot read: no such file; 04_unet train makes a model"));
    CHECK(contains(complaint({"sample", "--model", model, "--steps", "1001"}, 1),
                   "steps is 1001, expected 1..1000"));
    CHECK(contains(complaint({"sample", "--model", model, "--sampler", "plms"}, 2), "--sampler"));
    CHECK(contains(complaint({"sample", "--model", model, "--grid", "even"}, 2), "--grid"));
    CHECK(contains(complaint({"interpolate", "--model", model, "--image", "a.png"}, 1),
                   "give both --image and --second"));
    CHECK(contains(complaint({"edit", "--model", model, "--image", "no.png"}, 1), "no.png"));
    CHECK(contains(complaint({"edit", "--model", model, "--strength", "0"}, 2), "--strength"));
    CHECK(contains(complaint({"interpolate", "--model", model, "--n", "1"}, 2), "--n"));
    CHECK(contains(complaint({"sample", "--model", model, "--sampler", "heun", "--eta", "1"}, 1),
                   "--eta: only ddim takes it, heun does not"));
    Arena arena;
    const Tensor<float> zero = arena.zeros<float>({2, 28, 28});
    write_npy(folder / "flat.npy", zero);
    CHECK(contains(
        complaint({"sample", "--model", model, "--noise", (folder / "flat.npy").string()}, 1),
        "flat.npy: the shape is [2,28,28], expected [N,28,28,1], channels last"));
}

TEST_SUITE_END();
