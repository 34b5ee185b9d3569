// Chapter 5: the program, from outside.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "05_measuring/classifier.hpp"
#include "data/idx.hpp"
#include "data/strokes.hpp"
#include "io/csv.hpp"
#include "io/files.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "io/npy.hpp"
#include "io/safetensors.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/process.hpp"
#include "support/small_mnist.hpp"
#include "support/temporary_folder.hpp"
#include "support/zip_file.hpp"
#include "tensor/array.hpp"

using namespace diffusion;

namespace {

void put_pictures(const std::filesystem::path& path, const Dataset& data) {
    const std::vector<int> shape{data.count, data.height, data.width};
    write_idx(path, shape, data.pixels);
}

/// A folder with the small data set.
const std::filesystem::path& digits() {
    static const TemporaryFolder folder;
    static const std::filesystem::path made = [] {
        write_small_mnist(folder.path());
        return folder.path();
    }();
    return made;
}

ProcessResult run(std::vector<std::string> arguments, const std::filesystem::path& out) {
    arguments.insert(arguments.begin(), "05_measuring");
    arguments.insert(arguments.end(),
                     {"--preset", "smoke", "--data", digits().string(), "--out", out.string()});
    return run_program(arguments);
}

}  // namespace

TEST_SUITE_BEGIN("ch05 cli");

TEST_CASE("the experiment runs with and without a model, the same for any number of threads") {
    const TemporaryFolder folder;
    const ProcessResult without = run({}, folder / "a" / "05_measuring");
    INFO(without.err);
    REQUIRE(without.exit_code == 0);
    CHECK(contains(without.out, "04_unet makes one"));
    CHECK(read_csv(folder / "a" / "05_measuring" / "faults.csv").rows.size() == 9);
    REQUIRE(run_program({"04_unet", "train", "--preset", "smoke", "--data", digits().string(),
                         "--out", (folder / "04_unet").string()})
                .exit_code == 0);
    for (const char* threads : {"1", "2"}) {
        const auto out = folder / threads;
        const ProcessResult with =
            run({"--model", (folder / "04_unet").string(), "--threads", threads}, out);
        INFO(with.err);
        REQUIRE(with.exit_code == 0);
        CHECK(contains(with.out, "chapter 4's model"));
        CHECK(read_csv(out / "faults.csv").rows.size() == 10);
        CHECK(read_idx_images(out / "samples.idx").shape == std::vector<int>{100, 28, 28});
    }
    for (const std::string file :
         {"classifier_mnist.safetensors", "faults.csv", "bias.csv", "distances.csv", "faults.png",
          "unsure.png", "neighbours.png", "samples.idx"}) {
        CAPTURE(file);
        CHECK(read_file(folder / "1" / file) == read_file(folder / "2" / file));
    }
}

TEST_CASE("score: IDX files and folders of pictures, from anywhere") {
    const TemporaryFolder folder;
    const auto out = folder / "out";
    Dataset samples = stroke_digits(600, 1);  // the training set itself
    put_pictures(folder / "copies.idx", samples);
    const ProcessResult copies = run({"score", "--samples", (folder / "copies.idx").string()}, out);
    INFO(copies.err);
    REQUIRE(copies.exit_code == 0);
    CHECK(contains(copies.out, "judge: "));  // it was made
    const nlohmann::json result = read_json(out / "score.json");
    CHECK(result["scores"]["n"] == 200);
    CHECK(result["scores"]["near_copies"] == 1.0);
    CHECK(result["real"]["near_copies"].get<double>() <= 0.01);
    CHECK(result["reference"] == 600);
    CHECK(result["judge"]["data"] == "mnist");
    CHECK(result["judge"]["seed"] == "1");

    std::filesystem::create_directory(folder / "pictures");
    std::filesystem::create_directory(folder / "coloured");
    for (int i = 0; i < 120; ++i) {
        const auto at = samples.pixels.begin() + static_cast<std::ptrdiff_t>(i) * 784;
        write_png(folder / "pictures" / (std::to_string(i) + ".png"), {28, 28, 1, {at, at + 784}});
        std::vector<std::uint8_t> three;  // as many programs write grey pictures
        for (int k = 0; k < 784; ++k) three.insert(three.end(), 3, at[k]);
        write_png(folder / "coloured" / (std::to_string(i) + ".png"), {28, 28, 3, three});
    }
    const ProcessResult pictures =
        run({"score", "--samples", (folder / "pictures").string(), "--n", "110"}, out);
    INFO(pictures.err);
    REQUIRE(pictures.exit_code == 0);
    CHECK(!contains(pictures.out, "judge: "));  // the one that is there
    const auto score = read_json(out / "score.json");
    CHECK(score["scores"]["n"] == 110);
    CHECK(score["frechet_floor"] > 0);
    CHECK(std::filesystem::exists(out / "scored_unsure.png"));
    CHECK(std::filesystem::exists(out / "scored_neighbours.png"));
    REQUIRE(
        run({"score", "--samples", (folder / "coloured").string(), "--n", "110"}, out).exit_code ==
        0);
    CHECK(read_json(out / "score.json")["scores"] == score["scores"]);
}

TEST_CASE("score: what cannot be scored is told in one line") {
    const TemporaryFolder folder;
    const auto out = folder / "out";
    const auto complaint = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments{"score"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const ProcessResult result = run(arguments, out);
        CHECK(result.exit_code == 1);
        CHECK(std::ranges::count(result.err, '\n') == 1);
        CHECK(!contains(result.out, "judge: "));  // before anything has learned
        return result.err;
    };
    const Dataset digits = stroke_digits(300, 1);
    const auto write = [&](const char* name, std::vector<int> shape) {
        const auto size = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
        const auto path = (folder / name).string();
        write_idx(path, shape, std::span(digits.pixels).first(size));
        return path;
    };
    CHECK(contains(complaint({"--samples", write("few.idx", {99, 28, 28})}),
                   "few.idx: 99 pictures, expected at least 100"));
    CHECK(contains(complaint({"--samples", write("small.idx", {120, 14, 14})}),
                   "small.idx: the pictures are [14,14,1], those of mnist are [28,28,1]"));
    const std::string good = write("good.idx", {300, 28, 28});
    CHECK(
        contains(complaint({"--samples", good, "--n", "301"}), "--n is 301, expected 100 to 300"));
    CHECK(contains(complaint({"--samples", good, "--n", "250"}),
                   "there are only 200 test pictures to compare with"));
    CHECK(contains(complaint({"--samples", (folder / "missing.idx").string()}),
                   "missing.idx: no such file or folder; expected pictures as an IDX file"));
    put_text(folder / "a.gif", "GIF89a and more");
    CHECK(contains(complaint({"--samples", (folder / "a.gif").string()}),
                   "a.gif: a GIF; expected pictures as an IDX file"));
    put_text(folder / "a.txt", "not pictures\n");
    CHECK(contains(complaint({"--samples", (folder / "a.txt").string()}), "a.txt: a text; exp"));
    std::ofstream(folder / "grid.png") << "\x89PNG\r\n\x1a\n and more";
    CHECK(contains(complaint({"--samples", (folder / "grid.png").string()}),
                   "grid.png: a picture (PNG); expected pictures as an IDX file"));
    CHECK(contains(complaint({"--samples", good, "--judge", (folder / "absent.st").string()}),
                   "absent.st: cannot read: no such file; 05_measuring train makes a judge"));
    CHECK(contains(complaint({"--samples", good, "--dataset", "letters"}),
                   "unknown data set 'letters'"));
    put_text(folder / "cut.safetensors", "short");
    CHECK(contains(complaint({"--samples", good, "--judge", (folder / "cut.safetensors").string()}),
                   "cut.safetensors: a text and not a safetensors file; it begins \"short\""));
    // A judge of other pictures that go by the same name.
    const TrainedClassifier other = train_classifier(stroke_digits(200, 9), 64, 1);
    TrainedClassifier renamed = other;
    renamed.data = "mnist";
    renamed.save(folder / "other.safetensors");
    CHECK(
        contains(complaint({"--samples", good, "--judge", (folder / "other.safetensors").string()}),
                 "other.safetensors: learned mnist from other pictures"));
    CHECK(contains(complaint({"--samples", good, "--steps", "5"}),
                   "--steps: it is for the program without a subcommand"));
    CHECK(
        contains(complaint({"--samples", good, "--model", "m.safetensors"}), "--model: it is for"));
    CHECK(run_program({"05_measuring", "score"}).exit_code == 2);
}

TEST_CASE("score: arrays of NumPy's, of bytes and of floats in any of the usual ranges") {
    const TemporaryFolder folder;
    const auto out = folder / "out";
    const Dataset digits = stroke_digits(120, 3);
    const auto score = [&](const std::filesystem::path& path, const std::string& told) {
        const ProcessResult result = run({"score", "--samples", path.string()}, out);
        CAPTURE(path.string());
        CAPTURE(result.err);
        REQUIRE(result.exit_code == 0);
        CHECK(contains(result.out, told));
        return read_json(out / "score.json")["scores"];
    };
    put_pictures(folder / "x.idx", digits);
    const nlohmann::json expected = score(folder / "x.idx", "x.idx\n");
    Array<float> x(Shape{120, 28, 28, 1});
    struct Form {
        float black, white;
        const char* told;
    };
    for (const Form& form :
         {Form{-1, 1, "x.npy, floats from -1 to 1\n"}, Form{0, 1, "x.npy, floats from 0 to 1\n"},
          Form{0, 255, "x.npy, floats from 0 to 255\n"}}) {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] =
                form.black + (form.white - form.black) * static_cast<float>(digits.pixels[i]) / 255;
        write_npy(folder / "x.npy", x.tensor());
        CHECK(score(folder / "x.npy", form.told) == expected);
    }
    const std::string bytes(digits.pixels.begin(), digits.pixels.end());
    std::string array = "{'descr': '|u1', 'fortran_order': False, 'shape': (120, 28, 28), }\n";
    array =
        std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(array.size()) + '\0' + array + bytes;
    put_text(folder / "x.npz", zip_of({{"arr_0.npy", array}, {"arr_1.npy", "labels"}}, true));
    CHECK(score(folder / "x.npz", "x.npz, bytes\n") == expected);

    const auto complaint = [&](const std::filesystem::path& path) {
        const ProcessResult result = run({"score", "--samples", path.string()}, out);
        CHECK(result.exit_code == 1);
        CHECK(std::ranges::count(result.err, '\n') == 1);
        return result.err;
    };
    x[784] = std::numeric_limits<float>::quiet_NaN();
    write_npy(folder / "nan.npy", x.tensor());
    CHECK(contains(complaint(folder / "nan.npy"), "nan.npy: number 784 is not finite"));
    x[784] = -3;
    write_npy(folder / "odd.npy", x.tensor());
    CHECK(contains(complaint(folder / "odd.npy"),
                   "odd.npy: floats from -3 to 255, expected -1 to 1"));
    write_npy(folder / "first.npy", x.tensor().reshape({120, 1, 28, 28}));
    CHECK(
        contains(complaint(folder / "first.npy"),
                 "first.npy: the shape is [120,1,28,28], expected [N,H,W] or [N,H,W,C] with 1 or 3 "
                 "channels last; in NumPy: x.transpose(0, 2, 3, 1)"));
}

TEST_CASE("score: pictures that are inverted, or noise, are not called good") {
    const TemporaryFolder folder;
    const auto out = folder / "out";
    const Dataset digits = stroke_digits(200, 3);
    const auto score = [&](const Dataset& pictures) {
        put_pictures(folder / "x.idx", pictures);
        const ProcessResult result = run({"score", "--samples", (folder / "x.idx").string()}, out);
        CAPTURE(result.err);
        REQUIRE(result.exit_code == 0);
        return result.out;
    };
    const std::string good = score(digits);
    CHECK(!contains(good, "note:"));
    CHECK(contains(good, "the more the better"));
    Dataset inverted = digits, random = digits;
    for (std::uint8_t& pixel : inverted.pixels) pixel = static_cast<std::uint8_t>(255 - pixel);
    random.pixels = noise(200 * 28, 28, 1, 256).pixels;
    const std::string of_inverted = score(inverted), of_noise = score(random);
    CHECK(contains(of_inverted, "note: the samples look inverted: their mean brightness is "));
    CHECK(contains(of_inverted, "means nothing here"));
    CHECK(contains(of_noise, "note: the samples look unlike mnist"));
    CHECK(contains(of_noise, "means nothing here"));
    CHECK(read_json(out / "score.json")["note"].get<std::string>().starts_with(
        "the samples look unlike"));
}

TEST_CASE("--help of train and score lists what they take, and not what the experiment takes") {
    for (const char* command : {"train", "score"}) {
        const std::string help = run_program({"05_measuring", command, "--help"}).out;
        for (const char* option :
             {"--dataset", "--judge", "--preset", "--seed", "--out", "--data"}) {
            CAPTURE(option);
            CHECK(contains(help, option));
        }
        CHECK(!contains(help, "--steps"));
        CHECK(!contains(help, "--model"));
    }
    const std::string all = run_program({"05_measuring", "--help"}).out;
    CHECK(contains(all, "--steps"));
    CHECK(contains(all, "--model"));
}

TEST_CASE("a model is not held against data that it has not learned") {
    const TemporaryFolder folder;
    const std::string model = (folder / "04_unet").string();
    REQUIRE(run_program({"04_unet", "train", "--preset", "smoke", "--dataset", "builtin", "--out",
                         (folder / "04_unet").string()})
                .exit_code == 0);
    const ProcessResult result = run({"--model", model}, folder / "out");
    CHECK(result.exit_code == 1);
    CHECK(contains(result.err, "04_unet: the model learned builtin, but the data are"));
    CHECK(!contains(result.out, "judge: "));
}

TEST_CASE("train: a judge by itself, which score then uses") {
    const TemporaryFolder folder;
    const ProcessResult trained = run({"train"}, folder / "out");
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    CHECK(contains(trained.out, "of 200 test pictures named rightly"));
    CHECK(std::filesystem::exists(folder / "out" / "classifier_mnist.safetensors"));
    const auto elsewhere = folder / "a" / "new" / "folder" / "judge.safetensors";
    REQUIRE(run({"train", "--judge", elsewhere.string()}, folder / "out").exit_code == 0);
    CHECK(read_file(elsewhere) == read_file(folder / "out" / "classifier_mnist.safetensors"));
    CHECK(run({"--help"}, folder / "out").exit_code == 0);
}

TEST_CASE("train: a judge that learned something else is kept aside, the same one is not") {
    const TemporaryFolder folder;
    const auto out = folder / "out";
    const std::string file = "classifier_mnist.safetensors";
    REQUIRE(run({"train"}, out).exit_code == 0);
    const auto first = read_file(out / file);
    const ProcessResult same = run({"train"}, out);
    CHECK(same.exit_code == 0);
    CHECK(!contains(same.out, "the earlier judge is kept"));
    const ProcessResult other = run({"train", "--seed", "2"}, out);
    CHECK(
        contains(other.out, "the earlier judge is kept in " + (out / "earlier_1").string() + "\n"));
    CHECK(read_file(out / "earlier_1" / file) == first);
    CHECK(read_file(out / file) != first);
}

TEST_CASE("a judge of an earlier version, or a damaged one: another learns unless it was named") {
    const TemporaryFolder folder;
    const auto out = folder / "out", path = out / "classifier_mnist.safetensors";
    const auto samples = folder / "samples.idx";
    put_pictures(samples, stroke_digits(600, 1));
    REQUIRE(run({"train"}, out).exit_code == 0);
    Safetensors old = read_safetensors(path);
    old.metadata.erase("checksum");
    for (const std::string kind : {"old", "damaged"}) {
        CAPTURE(kind);
        if (kind == "old")
            write_safetensors(path, old);
        else
            put_text(path, "damaged");
        const auto named = run({"score", "--samples", samples.string(), "--judge", path.string()},
                               folder / "other");
        CHECK(named.exit_code == 1);
        CHECK(contains(named.err, kind == "old" ? "or of another version of this one, which then "
                                                  "has to make it again"
                                                : "classifier_mnist.safetensors: "));
        const auto unnamed = run({"score", "--samples", samples.string()}, out);
        INFO(unnamed.err);
        CHECK(unnamed.exit_code == 0);
        CHECK(contains(unnamed.out, "the earlier judge is kept in "));
        CHECK(load_classifier(path).data == "mnist");
    }
}

TEST_SUITE_END();
