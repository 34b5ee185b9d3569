// Chapter 4: the program, from outside.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "04_unet/model.hpp"
#include "data/idx.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/npy.hpp"
#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/arena.hpp"

using namespace diffusion;

namespace {

constexpr int kHeight = 12, kWidth = 8;
constexpr const char* kWeights = "unet/diffusion_pytorch_model.safetensors";

/// A data set that is read and learned quickly: six grey pictures.
std::string pictures() {
    static const TemporaryFolder folder;
    static bool drawn = false;
    for (std::uint32_t i = 0; !drawn && i < 6; ++i)
        write_png(folder / (std::to_string(i) + ".png"), noise(kHeight, kWidth, 1, 256, i));
    drawn = true;
    return "folder:" + folder.path().string();
}

/// `steps` steps of 20 pictures, with a checkpoint after every second one.
std::vector<std::string> train(const std::filesystem::path& out, std::vector<std::string> more = {},
                               int steps = 6) {
    std::vector<std::string> arguments = {
        "04_unet", "train",      "--preset",  "smoke",
        "--batch", "20",         "--images",  std::to_string(20 * steps),
        "--out",   out.string(), "--dataset", pictures()};
    if (std::ranges::find(more, "--save-every") == more.end())
        arguments.insert(arguments.end(), {"--save-every", "2"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

constexpr int kLong = 300;  // steps of a run that is to be stopped on the way

}  // namespace

TEST_SUITE_BEGIN("ch04 cli");

TEST_CASE("1, 2 and 3 threads train to the same bits and write what is promised") {
    const TemporaryFolder folder;
    for (const char* threads : {"1", "2", "3"}) {
        const ProcessResult run = run_program(train(folder / threads, {"--threads", threads}));
        INFO(run.err);
        REQUIRE(run.exit_code == 0);
    }
    for (const char* file : {kWeights, "state.safetensors", "loss_by_t.csv", "progress.png"}) {
        CHECK(read_file(folder / "1" / file) == read_file(folder / "2" / file));
        CHECK(read_file(folder / "1" / file) == read_file(folder / "3" / file));
    }
    const CsvTable log = read_csv(folder / "1" / "train.csv");
    CHECK(log.columns ==
          std::vector<std::string>{"step", "images", "seconds", "loss", "grad_norm"});
    CHECK(log.rows.size() == 6);
}

TEST_CASE(
    "killed after a checkpoint and resumed, a run ends in the same bits; so does one stopped by "
    "Ctrl-C") {
    const TemporaryFolder folder;
    const ProcessResult whole = run_program(train(folder / "whole", {}, kLong));
    REQUIRE(whole.exit_code == 0);
    for (const int signal : {SIGKILL, SIGINT}) {
        const auto out = folder / std::to_string(signal);
        const ProcessResult first =
            run_program(train(out, {}, kLong), {.send_signal = signal, .signal_at = "30 %"});
        CHECK((signal == SIGKILL ? first.ended_by == SIGKILL : first.exit_code == 130));
        const ProcessResult second = run_program(train(out, {"--resume"}, kLong));
        INFO(second.err);
        REQUIRE(second.exit_code == 0);
        for (const char* file : {kWeights, "state.safetensors", "loss_by_t.csv", "progress.png"}) {
            CHECK(read_file(out / file) == read_file(folder / "whole" / file));
        }
        CHECK(read_csv(out / "train.csv").rows.size() == kLong);
    }
}

TEST_CASE("sampling: the same seed gives the same files, and --noise starts from the given noise") {
    const TemporaryFolder folder;
    REQUIRE(run_program(train(folder / "t")).exit_code == 0);
    const std::string model = (folder / "t").string();
    const auto sample = [&](const char* name, std::vector<std::string> more) {
        std::vector<std::string> arguments = {"04_unet",
                                              "sample",
                                              "--model",
                                              model,
                                              "--steps",
                                              "4",
                                              "--n",
                                              "5",
                                              "--save-npy",
                                              "--out",
                                              (folder / name).string()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return run_program(arguments);
    };
    REQUIRE(sample("a", {"--threads", "1"}).exit_code == 0);
    REQUIRE(sample("b", {"--threads", "2"}).exit_code == 0);
    for (const char* file : {"samples.png", "samples.idx", "samples.npy", "denoising.gif"}) {
        CHECK(read_file(folder / "a" / file) == read_file(folder / "b" / file));
    }
    CHECK(read_npy(folder / "a" / "samples.npy").shape == std::vector<int>{5, kHeight, kWidth, 1});
    Arena arena;
    const Tensor<float> zero = arena.zeros<float>({2, kHeight, kWidth, 1});
    write_npy(folder / "noise.npy", zero);
    REQUIRE(sample("c", {"--noise", (folder / "noise.npy").string()}).exit_code == 0);
    CHECK(read_npy(folder / "c" / "samples.npy").shape == std::vector<int>{2, kHeight, kWidth, 1});
    zero(1, 3, 4, 0) = std::numeric_limits<float>::quiet_NaN();
    write_npy(folder / "nan.npy", zero);
    const ProcessResult odd = sample("e", {"--noise", (folder / "nan.npy").string()});
    CHECK(odd.exit_code == 1);
    CHECK(contains(odd.err, "nan.npy: holds numbers that are not finite"));
    write_npy(folder / "bad.npy", zero.reshape({2, kHeight, kWidth}));
    const ProcessResult bad = sample("d", {"--noise", (folder / "bad.npy").string()});
    CHECK(bad.exit_code == 1);
    CHECK(
        contains(bad.err, "bad.npy: the shape is [2,12,8], expected [N,12,8,1], channels last\n"));
    write_npy(folder / "first.npy", arena.zeros<float>({2, 1, kHeight, kWidth}));
    const ProcessResult first = sample("f", {"--noise", (folder / "first.npy").string()});
    CHECK(first.exit_code == 1);
    CHECK(contains(first.err,
                   "the shape is [2,1,12,8], expected [N,12,8,1], channels last; in NumPy: "
                   "x.transpose(0, 2, 3, 1)"));
}

#ifndef DIFFUSION_SANITIZED
TEST_CASE("a disk that fills up at a checkpoint: one line, and the old checkpoint still serves") {
    const TemporaryFolder folder;
    REQUIRE(run_program(train(folder / "whole", {}, kLong)).exit_code == 0);
    const auto out = folder / "full";
    const ProcessResult begun =
        run_program(train(out, {}, kLong), {.send_signal = SIGINT, .signal_at = "30 %"});
    REQUIRE(begun.exit_code == 130);
    const auto before = read_file(out / "state.safetensors");
    std::vector<std::string> arguments = train(out, {"--resume"}, kLong);
    arguments[0] = std::string(DIFFUSION_BIN_DIR) + "/04_unet";
    const ProcessResult full = run_child([&] {
        signal(SIGXFSZ, SIG_IGN);  // inherited: writing beyond the limit is then an error like any
        const rlimit limit{100'000, 100'000};
        setrlimit(RLIMIT_FSIZE, &limit);
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        return execv(argv[0], argv.data());
    });
    CAPTURE(full.err);
    CHECK(full.exit_code == 1);
    CHECK(std::count(full.err.begin(), full.err.end(), '\n') == 1);
    CHECK(full.err.find("state.safetensors") != std::string::npos);
    CHECK(read_file(out / "state.safetensors") == before);
    REQUIRE(run_program(train(out, {"--resume"}, kLong)).exit_code == 0);
    for (const char* file : {kWeights, "state.safetensors"})
        CHECK(read_file(out / file) == read_file(folder / "whole" / file));
}

#endif

TEST_CASE(
    "a loss that is not finite: one line with step and layer, and the last good state stays") {
    const TemporaryFolder folder;
    const ProcessResult run = run_program(train(
        folder / "t", {"--optimizer", "adam", "--learning-rate", "1e30", "--save-every", "1"}));
    CAPTURE(run.err);
    CHECK(run.exit_code == 1);
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
    // The first step makes the weights huge, and is saved; in the second they overflow.
    CHECK(contains(run.err, "at step 2; the first layer that is not finite is "));
    CHECK(!contains(run.err, "not known"));
    load_model(folder / "t");  // that of step 1; it would refuse what is not finite
    const Safetensors state = read_safetensors(folder / "t" / "state.safetensors");
    CHECK(state.metadata.at("step") == "1");
    for (const NamedArray& array : state.arrays) {
        CHECK(std::all_of(array.values.begin(), array.values.end(),
                          [](float v) { return std::isfinite(v); }));
    }
}

TEST_CASE("without a subcommand the program trains and draws; drawing keeps the training's entry") {
    const TemporaryFolder folder;
    const std::string data = (folder / "data").string(), out = (folder / "out").string();
    REQUIRE(std::filesystem::create_directory(data));
    const ProcessResult run =
        run_program({"04_unet", "--preset", "smoke", "--out", out},
                    {.folder = folder.path(), .environment = {{"DIFFUSION_DATA", data}}});
    CAPTURE(run.err);
    REQUIRE(run.exit_code == 0);
    CHECK(run.out.find("built-in") !=
          std::string::npos);  // no MNIST: its own digits, and it says so
    for (const char* file : {kWeights, "train.csv", "loss_by_t.csv", "progress.png", "samples.png",
                             "samples.idx", "denoising.gif"})
        CHECK(std::filesystem::exists(folder / "out" / file));
    const nlohmann::json before = read_json(folder / "out" / "run.json");
    CHECK(before.at("pictures").size() == 3);
    REQUIRE(
        run_program({"04_unet", "sample", "--model", out, "--n", "2", "--steps", "2", "--out", out})
            .exit_code == 0);
    const nlohmann::json after = read_json(folder / "out" / "run.json");
    CHECK(after.at("pictures").size() == 3);
    CHECK(after.at("numbers") == before.at("numbers"));
    CHECK(after.at("settings").at("preset") == "smoke");
    CHECK(after.at("settings").at("drawn") == 2);
    CHECK(after.at("seconds") > before.at("seconds"));
}

TEST_CASE("colour pictures: trained on, drawn, and written as N,H,W,C") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "pictures");
    for (int i = 0; i < 3; ++i)
        write_png(folder / "pictures" / (std::to_string(i) + ".png"),
                  noise(12, 8, 3, 256, static_cast<std::uint32_t>(i)));
    REQUIRE(run_program({"04_unet", "train", "--preset", "smoke", "--images", "40", "--batch", "20",
                         "--dataset", "folder:" + (folder / "pictures").string(), "--out",
                         (folder / "t").string()})
                .exit_code == 0);
    REQUIRE(run_program({"04_unet", "sample", "--model", (folder / "t").string(), "--n", "3",
                         "--steps", "2", "--save-npy", "--out", (folder / "s").string()})
                .exit_code == 0);
    CHECK(read_idx_images(folder / "s" / "samples.idx").shape == std::vector<int>{3, 12, 8, 3});
    CHECK(read_npy(folder / "s" / "samples.npy").shape == std::vector<int>{3, 12, 8, 3});
    CHECK(read_image(folder / "s" / "samples.png").channels == 3);
}

TEST_CASE("--help of train and of sample lists every option that they take") {
    const std::string train_help = run_program({"04_unet", "train", "--help"}).out,
                      sample_help = run_program({"04_unet", "sample", "--help"}).out;
    for (const char* option : {"--preset", "--seed", "--threads", "--data", "--out", "--resume"}) {
        CAPTURE(option);
        CHECK(contains(train_help, option));
        CHECK(contains(sample_help, option));
    }
    CHECK(contains(train_help, "--learning-rate"));
    CHECK(!contains(sample_help, "--learning-rate"));
}

#ifndef DIFFUSION_SANITIZED
TEST_CASE("where memory does not suffice, one line says what takes less") {
    const TemporaryFolder folder;
    REQUIRE(run_program(train(folder / "t")).exit_code == 0);
    const ProcessResult many =
        run_program({"04_unet", "sample", "--n", "1000000000", "--model", (folder / "t").string(),
                     "--out", (folder / "s").string()});
    CHECK(many.exit_code == 1);
    CHECK(many.err ==
          "04_unet: out of memory; try fewer pictures (--n), fewer threads "
          "(--threads)\n");
}

#endif

TEST_CASE("wrong arguments end with 2, wrong files with 1, each with one line") {
    const TemporaryFolder folder;
    REQUIRE(run_program(train(folder / "t")).exit_code == 0);
    const auto fails = [&](std::vector<std::string> arguments, int code, const std::string& text) {
        arguments.insert(arguments.begin(), "04_unet");
        const ProcessResult run = run_program(arguments);
        CAPTURE(run.err);
        CHECK(run.exit_code == code);
        CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
        CHECK(run.err.find(text) != std::string::npos);
    };
    const std::string out = (folder / "x").string(), model = (folder / "t").string();
    fails({"sample", "--model", model, "--n", "0", "--out", out}, 2,
          "--n: expected 1 or more, got 0");
    fails({"train", "--preset", "nonsense", "--out", out}, 2, "--preset");
    fails({"train", "--threads", "-1", "--out", out}, 2, "--threads");
    fails(
        {"sample", "--out", (folder / "nothing").string()}, 1,
        "nothing: holds no model: there is neither model_index.json nor config.json; 04_unet train "
        "makes one");
    fails({"sample", "--model", (folder / "none").string(), "--out", out}, 1,
          "none: cannot read: no such file; 04_unet train makes one");
    fails({"train", "--dataset", "nonsense", "--out", out}, 1, "nonsense");
    fails({"train", "--prediction", "y", "--out", out}, 2, "--prediction");
    fails({"train", "--n", "5", "--out", out}, 2, "--n");
    fails({"train", "--images", "-5", "--out", out}, 2, "--images");
    std::vector<std::string> other_seed = train(folder / "t", {"--resume", "--seed", "2"});
    other_seed.erase(other_seed.begin());
    fails(other_seed, 1, "this run has seed \"2\", the saved one \"1\"");

    put_text(folder / "file", "");
    for (const char* command : {"train", "sample"}) {
        std::vector<std::string> arguments = {command, "--out", (folder / "file" / "x").string()};
        if (*command == 's') arguments.insert(arguments.end(), {"--model", model});
        fails(arguments, 1, "cannot create the output folder");
    }
    put_text(folder / "t" / "state.safetensors", "not a state");
    fails({"train", "--preset", "smoke", "--dataset", pictures(), "--resume", "--out",
           (folder / "t").string()},
          1, "state.safetensors: a text and not a safetensors file");
}

TEST_CASE("--device cuda: where there is no GPU, one line says so, and nothing is written") {
    const TemporaryFolder folder;
    const ProcessResult result =
        run_program({"04_unet", "train", "--preset", "smoke", "--dataset", "builtin", "--device",
                     "cuda", "--out", (folder / "out").string()});
    if (result.exit_code == 0) return;  // there is one
    CHECK(result.exit_code == 1);
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(contains(result.err, "cuda"));
    CHECK(!std::filesystem::exists(folder / "out" / "model_index.json"));
    CHECK(run_program({"04_unet", "train", "--device", "tpu"}).exit_code == 2);
}

TEST_SUITE_END();
