// Chapter 4: the program, from outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/npy.hpp"
#include "io/safetensors.hpp"
#include "support/process.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/arena.hpp"

using namespace diffusion;

namespace {

std::vector<std::string> train(const std::filesystem::path& out, std::vector<std::string> more = {},
                               const std::string& images = "120") {
    std::vector<std::string> arguments = {
        "04_unet", "train",   "--preset", "smoke",        "--dataset", "builtin", "--images",
        images,    "--batch", "20",       "--save-every", "2",         "--out",   out.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

}  // namespace

TEST_SUITE_BEGIN("ch04 cli");

TEST_CASE("1, 2 and 3 threads train to the same bits and write what is promised") {
    const TemporaryFolder folder;
    for (const char* threads : {"1", "2", "3"}) {
        const ProcessResult run = run_program(train(folder / threads, {"--threads", threads}));
        INFO(run.err);
        REQUIRE(run.exit_code == 0);
    }
    for (const char* file :
         {"model.safetensors", "state.safetensors", "loss_by_t.csv", "progress.png"}) {
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
    const ProcessResult whole = run_program(train(folder / "whole", {}, "800"));
    REQUIRE(whole.exit_code == 0);
    for (const int signal : {SIGKILL, SIGINT}) {
        const auto out = folder / std::to_string(signal);
        const ProcessResult first =
            run_program(train(out, {}, "800"), {.send_signal = signal, .signal_at = "30 %"});
        CHECK((signal == SIGKILL ? first.ended_by == SIGKILL : first.exit_code == 130));
        const ProcessResult second = run_program(train(out, {"--resume"}, "800"));
        INFO(second.err);
        REQUIRE(second.exit_code == 0);
        for (const char* file :
             {"model.safetensors", "state.safetensors", "loss_by_t.csv", "progress.png"}) {
            CHECK(read_file(out / file) == read_file(folder / "whole" / file));
        }
        CHECK(read_csv(out / "train.csv").rows.size() == 40);
    }
}

TEST_CASE("sampling: the same seed gives the same files, and --noise starts from the given noise") {
    const TemporaryFolder folder;
    REQUIRE(run_program(train(folder / "t")).exit_code == 0);
    const std::string model = (folder / "t" / "model.safetensors").string();
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
    CHECK(read_npy(folder / "a" / "samples.npy").shape == std::vector<int>{5, 28, 28, 1});
    Arena arena;
    const Tensor<float> zero = arena.zeros<float>({2, 28, 28, 1});
    write_npy(folder / "noise.npy", zero);
    REQUIRE(sample("c", {"--noise", (folder / "noise.npy").string()}).exit_code == 0);
    CHECK(read_npy(folder / "c" / "samples.npy").shape == std::vector<int>{2, 28, 28, 1});
    write_npy(folder / "bad.npy", zero.reshape({2, 28, 28}));
    const ProcessResult bad = sample("d", {"--noise", (folder / "bad.npy").string()});
    CHECK(bad.exit_code == 1);
    CHECK(bad.err.find("expected the shape [N,28,28,1]") != std::string::npos);
}

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
    const std::string out = (folder / "x").string(),
                      model = (folder / "t" / "model.safetensors").string();
    fails({"sample", "--model", model, "--n", "0", "--out", out}, 2, "--n");
    fails({"train", "--preset", "nonsense", "--out", out}, 2, "--preset");
    fails({"train", "--threads", "-1", "--out", out}, 2, "--threads");
    fails({"sample"}, 2, "--model");
    fails({"sample", "--model", (folder / "none").string(), "--out", out}, 1, "none");
    fails({"train", "--dataset", "nonsense", "--out", out}, 1, "nonsense");
    fails({"train", "--prediction", "y", "--out", out}, 2, "--prediction");
    fails({"train", "--n", "5", "--out", out}, 2, "--n");
    fails({"train", "--images", "-5", "--out", out}, 2, "--images");
    fails({"train", "--preset", "smoke", "--dataset", "builtin", "--images", "160", "--seed", "2",
           "--resume", "--out", (folder / "t").string()},
          1, "this run has");

    const Safetensors good = read_safetensors(model);
    const auto broken = [&](auto change) {
        Safetensors file = good;
        change(file);
        write_safetensors(folder / "broken", file);
        return (folder / "broken").string();
    };
    fails({"sample", "--out", out, "--model", broken([](Safetensors& f) { f.arrays.pop_back(); })},
          1, "is missing");
    fails({"sample", "--out", out, "--model",
           broken([](Safetensors& f) { f.arrays[0].name = "odd"; })},
          1, "is missing");
    fails({"sample", "--out", out, "--model", broken([](Safetensors& f) {
               f.arrays.push_back({"odd", {1}, {0}});
           })},
          1, "no parameter odd");
    fails({"sample", "--out", out, "--model",
           broken([](Safetensors& f) { f.metadata["base"] = "16"; })},
          1, "expected");
    fails(
        {"sample", "--out", out, "--model", broken([](Safetensors& f) { f.metadata.erase("T"); })},
        1, "no T");
    const auto bytes = read_file(model);
    std::ofstream(folder / "short", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size() / 2));
    fails({"sample", "--out", out, "--model", (folder / "short").string()}, 1, "short");
}

TEST_SUITE_END();
