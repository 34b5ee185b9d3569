// Chapter 4: no training is lost. What a state belongs to, what is kept, and advice that works.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "04_unet/model.hpp"
#include "04_unet/samples.hpp"
#include "04_unet/trainer.hpp"
#include "data/idx.hpp"
#include "io/files.hpp"
#include "io/json.hpp"
#include "io/set_aside.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/small_mnist.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

/// A data set of six grey pictures.
std::string put_pictures(const fs::path& folder, int height, int width, std::uint32_t seed) {
    fs::create_directory(folder);
    for (std::uint32_t i = 0; i < 6; ++i)
        write_png(folder / (std::to_string(i) + ".png"), noise(height, width, 1, 256, seed + i));
    return "folder:" + folder.string();
}

constexpr int kLong = 3000;  // steps of a run that is to be stopped on the way

/// Trainings in one temporary folder, on pictures of 12 x 8.
struct Trainings {
    TemporaryFolder folder;
    std::string data = put_pictures(folder / "data", 12, 8, 0);
    fs::path out = folder / "out";

    std::vector<std::string> command(int steps, std::vector<std::string> more = {}) const {
        std::vector<std::string> all = {"04_unet", "train", "--preset", "smoke",
                                        "--batch", "4",     "--images", std::to_string(4 * steps)};
        const auto given = [&](const char* option) {
            return std::ranges::find(more, option) != more.end();
        };
        if (!given("--dataset") && !given("--data")) more.insert(more.end(), {"--dataset", data});
        if (!given("--out")) more.insert(more.end(), {"--out", out.string()});
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    ProcessResult train(int steps, std::vector<std::string> more = {},
                        const ProcessOptions& options = {}) const {
        return run_program(command(steps, std::move(more)), options);
    }
    std::int64_t step(const fs::path& at) const {
        return look_at_state(at / "state.safetensors").step;
    }
};

void check_refused(const ProcessResult& run, const std::string& text) {
    CAPTURE(run.err);
    CHECK(run.exit_code == 1);
    CHECK(std::ranges::count(run.err, '\n') == 1);
    CHECK(contains(run.err, text));
}

void check_done(const ProcessResult& run) {
    CAPTURE(run.err);
    CHECK(run.exit_code == 0);
}

}  // namespace

TEST_SUITE_BEGIN("ch04 cli");

TEST_CASE("--resume on other data is refused, with what differs: sizes, pictures or labels") {
    const Trainings t;
    check_done(t.train(2));
    const auto before = read_file(t.out / "state.safetensors");
    check_refused(t.train(2, {"--resume", "--dataset", put_pictures(t.folder / "b", 30, 30, 0)}),
                  "data size \"30x30x1\", the saved one \"12x8x1\"");
    const ProcessResult other =
        t.train(2, {"--resume", "--dataset", put_pictures(t.folder / "c", 12, 8, 9)});
    check_refused(other, "this run has data checksum ");
    CHECK(!contains(other.err, "data size"));
    CHECK(read_file(t.out / "state.safetensors") == before);

    const fs::path mnist = t.folder / "mnist";
    fs::create_directory(mnist);
    write_small_mnist(mnist);
    const std::vector<std::string> options = {"--data", mnist.string(), "--out",
                                              (t.folder / "digits").string()};
    check_done(t.train(2, options));
    const fs::path file = mnist / "train-labels-idx1-ubyte";
    std::vector<std::uint8_t> labels = read_idx_labels(file);
    std::rotate(labels.begin(), labels.begin() + 1, labels.end());
    write_idx(file, std::vector<int>{static_cast<int>(labels.size())}, labels);
    std::vector<std::string> again = options;
    again.push_back("--resume");
    check_refused(t.train(2, again), "this run has data checksum ");
}

TEST_CASE("a training that begins where another was keeps that one, be it finished or damaged") {
    const Trainings t;
    check_done(t.train(4));
    const auto first = read_file(t.out / "state.safetensors");
    put_text(t.out / "notes.txt", "mine");
    const ProcessResult same = t.train(4);
    check_done(same);
    CHECK(contains(
        same.out, "the earlier training here is kept in " + (t.out / "earlier_1").string() + " ("));
    CHECK(contains(same.out, "; it had made all of its 4 steps\n"));
    CHECK(read_file(t.out / "earlier_1" / "state.safetensors") == first);
    for (const char* file : {"model_index.json", "unet/config.json", "train.csv", "loss_by_t.csv",
                             "progress.png", "progress_8.png", "run.json"})
        CHECK(fs::exists(t.out / "earlier_1" / file));
    CHECK(fs::exists(t.out / "notes.txt"));
    check_done(t.train(2, {"--seed", "5"}));  // other settings, and a shorter run
    CHECK(t.step(t.out / "earlier_2") == 4);
    CHECK(t.step(t.out) == 2);
    put_text(t.out / "state.safetensors", "damaged");
    const ProcessResult after = t.train(2);
    check_done(after);
    CHECK(contains(after.out, "its state cannot be read"));
    CHECK(get_text(t.out / "earlier_3" / "state.safetensors") == "damaged");
    CHECK(read_file(t.out / "earlier_1" / "state.safetensors") == first);
}

TEST_CASE("a training goes on although its log is gone or damaged: the state decides") {
    const Trainings t;
    constexpr int kSteps = 300;
    check_done(t.train(kSteps, {"--out", (t.folder / "whole").string()}));
    int kept = 0;
    for (const std::string kind : {"gone", "empty", "another table"}) {
        CAPTURE(kind);
        const fs::path out = t.folder / kind, log = out / "train.csv";
        CHECK(t.train(kSteps, {"--out", out.string()}, {.send_signal = SIGINT, .signal_at = "30 %"})
                  .exit_code == 130);
        if (kind == "gone")
            fs::remove(log);
        else
            put_text(log, kind == "empty" ? "" : "step\n0\n");
        const ProcessResult resumed = t.train(kSteps, {"--resume", "--out", out.string()});
        check_done(resumed);
        CHECK(contains(resumed.out, "note: " + log.string()));
        CHECK(contains(resumed.out, "a new log begins"));
        CHECK(fs::exists(out / "earlier_1" / "train.csv") == (kind != "gone"));
        CHECK(read_file(out / "state.safetensors") ==
              read_file(t.folder / "whole" / "state.safetensors"));
        kept += fs::exists(out / "earlier_1");
    }
    CHECK(kept == 2);
}

TEST_CASE("a stop does not wait for a drawing on the way, which --resume then makes") {
    const Trainings t;
    constexpr int kSteps = 80;  // a grid after every tenth
    check_done(t.train(kSteps, {"--out", (t.folder / "whole").string()}));
    const auto drawing = [&] {  // after step 10
        std::ifstream log(t.out / "train.csv");
        for (std::string line; std::getline(log, line);)
            if (line.starts_with("10,")) return true;
        return false;
    };
    CHECK(t.train(kSteps, {}, {.send_signal = SIGINT, .signal_if = drawing}).exit_code == 130);
    CHECK(t.step(t.out) == 10);
    CHECK(!fs::exists(t.out / "progress_1.png"));
    check_done(t.train(kSteps, {"--resume"}));
    CHECK(read_file(t.out / "progress.png") == read_file(t.folder / "whole" / "progress.png"));
}

TEST_CASE("--resume takes what is not given from the state, unless a preset is asked for") {
    const Trainings t;
    CHECK(t.train(300, {"--base", "16"}, {.send_signal = SIGINT, .signal_at = "30 %"}).exit_code ==
          130);
    const auto resumed = [&](std::vector<std::string> more) {
        more.insert(more.begin(),
                    {"04_unet", "train", "--resume", "--dataset", t.data, "--out", t.out.string()});
        return run_program(more);
    };
    const ProcessResult other = resumed({"--preset", "quick"});
    check_refused(other, "this run has batch \"32\", the saved one \"4\"");
    CHECK(contains(other.err, "start with the same options"));
    CHECK(!contains(other.err, "--from"));  // it is not finished
    check_done(resumed({}));
    CHECK(t.step(t.out) == 300);
    CHECK(load_model(t.out).model.unet.config().channels_at(0) == 16);
}

TEST_CASE("a training that stopped before its first step is no training to keep") {
    const Trainings t;
    check_refused(t.train(8, {"--learning-rate", "1e30"}), "begin again with 04_unet train");
    CHECK(t.step(t.out) == 0);
    check_done(t.train(2));
    CHECK(!fs::exists(t.out / "earlier_1"));
}

TEST_CASE("fewer pictures do not replace more; as many do") {
    const Trainings t;
    const fs::path drawn = t.folder / "drawn";
    check_done(t.train(2));
    const auto draw = [&](const char* n, const char* seed) {
        const ProcessResult run =
            run_program({"04_unet", "sample", "--model", t.out.string(), "--n", n, "--steps", "1",
                         "--seed", seed, "--out", drawn.string()});
        check_done(run);
        return run.out;
    };
    draw("4", "1");
    const auto four = read_file(drawn / "samples.idx");
    CHECK(contains(draw("3", "1"), "the 4 pictures that were drawn here before are kept in " +
                                       (drawn / "earlier_1").string()));
    CHECK(read_file(drawn / "earlier_1" / "samples.idx") == four);
    CHECK(fs::exists(drawn / "earlier_1" / "denoising.gif"));
    draw("3", "2");
    CHECK(!fs::exists(drawn / "earlier_2"));
    const FolderLock lock(drawn);  // another program draws or trains there
    check_refused(run_program({"04_unet", "sample", "--model", t.out.string(), "--n", "1",
                               "--steps", "1", "--out", drawn.string()}),
                  "another program is at work here");
}

TEST_CASE("all that a training and its drawings leave in the folder moves aside with it") {
    const Trainings t;
    check_done(t.train(8));
    check_done(run_program({"04_unet", "sample", "--model", t.out.string(), "--n", "2", "--steps",
                            "2", "--save-npy", "--out", t.out.string()}));
    const auto names = [](const fs::path& folder) {
        std::vector<std::string> all;
        for (const auto& entry : fs::recursive_directory_iterator(folder))
            all.push_back(fs::relative(entry.path(), folder).string());
        std::ranges::sort(all);
        return all;
    };
    const std::vector<std::string> before = names(t.out);
    CHECK(std::ranges::count(before, "samples.npy") == 1);
    check_done(t.train(2));
    CHECK(names(t.out / "earlier_1") == before);
}

TEST_CASE(
    "a forgotten --resume: the advice, taken literally, goes on with the unfinished training") {
    const Trainings t;
    constexpr int kSteps = 300;
    check_done(t.train(kSteps, {"--out", (t.folder / "whole").string()}));
    CHECK(t.train(kSteps, {}, {.send_signal = SIGINT, .signal_at = "30 %"}).exit_code == 130);
    const std::int64_t made = t.step(t.out);
    const ProcessResult anew = t.train(kSteps, {}, {.send_signal = SIGINT, .signal_at = "10 %"});
    const std::string aside = (t.out / "earlier_1").string();
    CHECK(contains(anew.out, "; it had made " + std::to_string(made) +
                                 " of 300 steps, and goes on with its options and --resume --out " +
                                 aside + "\n"));
    check_done(t.train(kSteps, {"--resume", "--out", aside}));
    CHECK(read_file(fs::path(aside) / "state.safetensors") ==
          read_file(t.folder / "whole" / "state.safetensors"));
}

TEST_CASE("nothing moves for a training that does not begin: wrong options, or another at work") {
    const Trainings t;
    check_done(t.train(2));
    check_refused(t.train(2, {"--dataset", "folder:" + (t.folder / "none").string()}), "none");
    const FolderLock lock(t.out);
    check_refused(t.train(2), "another program is at work here");
    CHECK(!fs::exists(t.out / "earlier_1"));
}

TEST_CASE("after a loss that is not finite, --resume with a lower learning rate goes on") {
    const Trainings t;
    CHECK(t.train(kLong, {"--learning-rate", "1e-3"}, {.send_signal = SIGINT, .signal_at = "10 %"})
              .exit_code == 130);
    const std::string step = std::to_string(t.step(t.out));
    const ProcessResult bad =
        t.train(kLong, {"--resume", "--learning-rate", "1e30", "--save-every", "100000"});
    check_refused(bad, "the checkpoint of step " + step +
                           " is kept: 04_unet train with the same options, --resume and "
                           "--learning-rate 2.5e+29 (now 1e+30) goes on from there");
    const ProcessResult good = t.train(kLong, {"--resume", "--learning-rate", "5e-4"},
                                       {.send_signal = SIGINT, .signal_at = "20 %"});
    CHECK(good.exit_code == 130);
    CHECK(contains(good.out, "learning rate: 0.001 until step " + step + "; from there on 5e-04"));
    const SavedState saved = look_at_state(t.out / "state.safetensors");
    CHECK(saved.learning_rate == 5e-4);
    CHECK(saved.metadata.at("earlier_learning_rates") == "0.001 until step " + step);
    CHECK(read_json(t.out / "run.json").at("settings").at("earlier learning rates") ==
          "0.001 until step " + step);
    const ProcessResult on =  // without the option the rate stays as it was
        t.train(kLong, {"--resume"}, {.send_signal = SIGINT, .signal_at = "30 %"});
    CHECK(contains(on.out, "from there on 5e-04"));
    CHECK(look_at_state(t.out / "state.safetensors").learning_rate == 5e-4);
}

TEST_CASE("a finished training goes further with --from, as the refusal of --resume says") {
    const Trainings t;
    check_done(t.train(4, {"--base", "16", "--prediction", "v"}));
    const LoadedModel learned = load_model(t.out);
    check_refused(t.train(8, {"--base", "16", "--prediction", "v", "--resume"}),
                  "this run has steps \"8\", the saved one \"4\", warmup \"1\", the saved one "
                  "\"0\"; to train its "
                  "model further, leave out --resume, and add --from " +
                      t.out.string());
    // Network and prediction are the model's. Steps too short to change a weight show where it
    // began.
    const ProcessResult further =
        t.train(8, {"--from", t.out.string(), "--optimizer", "adam", "--learning-rate", "1e-12"});
    check_done(further);
    CHECK(contains(further.out, "begins with the weights of " + t.out.string()));
    const LoadedModel now = load_model(t.out);
    CHECK(now.model.prediction == Prediction::v);
    REQUIRE(now.values.size() == learned.values.size());
    float most = 0;
    for (std::size_t i = 0; i < now.values.size(); ++i)
        most = std::max(most, std::abs(now.values[i] - learned.values[i]));
    CHECK(most < 1e-6f);
    CHECK(t.step(t.out / "earlier_1") == 4);
    const SavedState saved = look_at_state(t.out / "state.safetensors");
    CHECK(saved.metadata.at("--from") == fs::weakly_canonical(t.out).string());

    // The same command with --resume goes on, although --from now names its own result.
    check_done(t.train(8, {"--from", t.out.string(), "--optimizer", "adam", "--resume"}));
    // It need not be named, nor be there: what counts is in the state.
    check_done(t.train(8, {"--optimizer", "adam", "--resume"}));
    check_refused(
        t.train(8, {"--from", (t.out / "earlier_1").string(), "--optimizer", "adam", "--resume"}),
        "this run has --from \"" + (t.out / "earlier_1").string() + "\", the saved one \"" +
            t.out.string() + "\"");
}

TEST_CASE("samples that are not finite are not written: the file and the picture are named") {
    const TemporaryFolder folder;
    RunFolder run(folder / "out", "04_unet", "x");
    Array<float> x(Shape{3, 2, 2, 1});
    x[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK(contains(error_of([&] { write_samples(run, x.tensor(), true, "drawn"); }),
                   (folder / "out" / "samples.idx").string() +
                       ": picture 2 of 3 would have nan as number 1; it is not written"));
    CHECK(fs::is_empty(folder / "out"));
}

TEST_CASE("--from refuses, by its name, an option that contradicts the model; and other data") {
    const Trainings t;
    const std::string from = (t.folder / "model").string(), other = (t.folder / "x").string();
    check_done(t.train(2, {"--out", from}));
    const auto refused = [&](std::vector<std::string> more, const std::string& text) {
        more.insert(more.end(), {"--from", from, "--out", other});
        check_refused(t.train(2, more), text);
        CHECK(!fs::exists(t.folder / "x" / "state.safetensors"));
    };
    refused({"--base", "16"}, "--base 16: the model of --from has 8; leave the option out");
    refused({"--multipliers", "1,2"}, "--multipliers 1,2: the model of --from has 1,2,2");
    refused({"--schedule", "linear"}, "--schedule linear: the model of --from has cosine");
    refused({"--prediction", "eps"}, "--prediction eps: the model of --from has x0");
    refused({"--dataset", put_pictures(t.folder / "b", 16, 16, 0)},
            "the model draws pictures of 12x8x1, the data are 16x16x1");
    check_refused(t.train(2, {"--from", (t.folder / "none").string()}), "none: cannot read");
    nlohmann::json config = read_json(t.folder / "model" / "unet" / "config.json");
    config["norm_eps"] = 1e-3;
    write_json(t.folder / "model" / "unet" / "config.json", config);
    refused({}, "model: this network's norm_eps is 0.001; what is trained here has 1e-05");
}

TEST_CASE("however a training ends, it leaves a model that can be drawn with") {
    for (const int signal : {SIGKILL, SIGTERM, SIGHUP, SIGINT}) {
        CAPTURE(signal);
        const Trainings t;
        const ProcessResult ended =
            t.train(kLong, {"--save-every", "20"}, {.send_signal = signal, .signal_at = "10 %"});
        CHECK((signal == SIGKILL ? ended.ended_by == SIGKILL : ended.exit_code == 130));
        check_done(run_program({"04_unet", "sample", "--model", t.out.string(), "--n", "2",
                                "--steps", "2", "--out", (t.folder / "drawn").string()}));
        CHECK(fs::exists(t.folder / "drawn" / "samples.png"));
    }
}

TEST_SUITE_END();
