// The search for data: which folder wins, what is refused, and what the reader is told.
#include "data/find.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>

#include "data/idx.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

namespace {

/// DIFFUSION_DATA and the working folder as the test wants them, put back at the end.
class Surroundings {
public:
    Surroundings(const fs::path& folder, const fs::path& data) {
        if (const char* old = std::getenv("DIFFUSION_DATA")) data_ = old;
        fs::current_path(folder);
        ::setenv("DIFFUSION_DATA", data.c_str(), 1);
    }
    ~Surroundings() {
        fs::current_path(folder_);
        if (data_) ::setenv("DIFFUSION_DATA", data_->c_str(), 1);
        if (!data_) ::unsetenv("DIFFUSION_DATA");
    }
    Surroundings(const Surroundings&) = delete;
    Surroundings& operator=(const Surroundings&) = delete;

private:
    fs::path folder_ = fs::current_path();
    std::optional<std::string> data_;
};

/// Twelve training pictures of one pixel; `mark` is the value of each, so that a test sees which
/// folder they came from.
void make_idx_set(const fs::path& folder, std::uint8_t mark, Bytes labels = Bytes(12, 3)) {
    fs::create_directories(folder);
    const std::vector<int> shape{12, 1, 1}, count{static_cast<int>(labels.size())};
    write_idx(folder / "train-images-idx3-ubyte", shape, Bytes(12, mark));
    write_idx(folder / "train-labels-idx1-ubyte", count, labels);
}

void make_cifar(const fs::path& folder) {
    fs::create_directories(folder);
    std::ofstream(folder / "data_batch_1.bin", std::ios::binary) << std::string(3073, '\5');
}

bool mentions(const Dataset& data, const std::string& text) {
    return data.source.find(text) != std::string::npos;
}

std::string complaint(const std::string& kind, const fs::path& data_dir, bool train = true) {
    try {
        find_dataset(kind, data_dir.string(), train);
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

void check_says(const std::string& message, const std::string& part) {
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
}

}  // namespace

TEST_SUITE_BEGIN("src");

TEST_CASE("data is looked for in --data, DIFFUSION_DATA, data/, then made") {
    const TemporaryFolder here, env, named;
    const Surroundings surroundings(here.path(), env.path());

    Dataset data = find_dataset("mnist", "", true);
    CHECK(data.name == "builtin");
    CHECK(data.count >= 10000);
    CHECK(mentions(data, "built-in"));
    CHECK(mentions(data, "no MNIST in DIFFUSION_DATA=" + env.path().string() + " or data/"));
    CHECK(mentions(data, "data/download.sh mnist"));
    const Dataset test = find_dataset("builtin", "", false);
    const std::set<Bytes> train_pictures = [&] {
        std::set<Bytes> all;
        for (auto p = data.pixels.begin(); p != data.pixels.end(); p += 784)
            all.emplace(p, p + 784);
        return all;
    }();
    CHECK(train_pictures.size() == static_cast<std::size_t>(data.count));  // no picture twice
    for (auto p = test.pixels.begin(); p != test.pixels.end(); p += 784) {
        REQUIRE(train_pictures.count(Bytes(p, p + 784)) == 0);
    }

    make_idx_set("data/mnist", 1);
    data = find_dataset("mnist", "", true);
    CHECK(data.name == "mnist");
    CHECK(data.pixels == Bytes(12, 1));
    CHECK(mentions(data, "12 training pictures from data/mnist"));
    make_idx_set(env / "mnist", 2);
    data = find_dataset("mnist", "", true);
    CHECK(data.pixels == Bytes(12, 2));
    CHECK(mentions(data, "(DIFFUSION_DATA)"));
    make_idx_set(named.path(), 3);  // the folder itself counts as well
    data = find_dataset("mnist", named.path().string(), true);
    CHECK(data.pixels == Bytes(12, 3));
    CHECK(mentions(data, "(--data)"));
}

TEST_CASE("each kind is found in its own subfolder, and the folder itself may be named") {
    const TemporaryFolder here, env;
    make_idx_set(env / "mnist", 1);
    make_idx_set(env / "fashion", 2);
    make_cifar(env / "cifar10");
    {
        const Surroundings surroundings(here.path(), env.path());
        CHECK(find_dataset("mnist", "", true).pixels == Bytes(12, 1));
        CHECK(find_dataset("fashion", "", true).pixels == Bytes(12, 2));
        CHECK(find_dataset("cifar10", "", true).pixels == Bytes(3072, 5));
    }
    const Surroundings surroundings(here.path(), env / "fashion");
    CHECK(find_dataset("fashion", "", true).pixels == Bytes(12, 2));
    CHECK(find_dataset("cifar10", (env / "cifar10").string(), true).count == 1);
}

TEST_CASE("MNIST and Fashion-MNIST share file names; their labels keep them apart") {
    const TemporaryFolder here, env;
    const Surroundings surroundings(here.path(), env.path());
    make_idx_set(env.path(), 1, {5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5});
    CHECK(find_dataset("mnist", "", true).name == "mnist");
    check_says(complaint("fashion", ""), "no Fashion-MNIST in DIFFUSION_DATA=");
    check_says(complaint("fashion", env.path()), "it holds MNIST");
    make_idx_set(env.path(), 1, {9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9});
    CHECK(find_dataset("fashion", "", true).name == "fashion");
    CHECK(find_dataset("mnist", "", true).name == "builtin");
    check_says(complaint("mnist", env.path()), "it holds Fashion-MNIST");
}

TEST_CASE(
    "MNIST as Kaggle's archive has it: folders named like the files, beside them or around them") {
    const TemporaryFolder here, named;
    const Surroundings surroundings(here.path(), here.path());
    make_idx_set(named.path(), 1);
    for (const char* what : {"images", "labels"}) {
        const std::string type = what == std::string("images") ? "idx3-ubyte" : "idx1-ubyte";
        const std::string name = std::string("train-") + what + "-" + type;
        fs::rename(named / name, named / (std::string("train-") + what + "." + type));
        fs::create_directory(named / name);
    }
    CHECK(find_dataset("mnist", named.path().string(), true).pixels == Bytes(12, 1));
    for (const char* what : {"images", "labels"}) {  // now within the folder only
        const std::string type = what == std::string("images") ? "idx3-ubyte" : "idx1-ubyte";
        const std::string name = std::string("train-") + what + "-" + type;
        fs::rename(named / (std::string("train-") + what + "." + type), named / name / name);
    }
    CHECK(find_dataset("mnist", named.path().string(), true).pixels == Bytes(12, 1));
    fs::remove(named / "train-labels-idx1-ubyte" / "train-labels-idx1-ubyte");
    check_says(complaint("mnist", named.path()), "incomplete MNIST: no train-labels-idx1-ubyte");
}

TEST_CASE("what lies where a data set is looked for is told, with what to do about it") {
    const TemporaryFolder here, named;
    const Surroundings surroundings(here.path(), named.path());
    check_says(complaint("mnist", named.path()), "has no MNIST; it is empty; expected");
    for (const char* name : {"d", "b", "a", "c", ".hidden"}) std::ofstream(named / name) << "x";
    check_says(complaint("mnist", named.path()),
               "has no MNIST; it holds a, b, c and 1 more; expected");
    fs::create_directory(named / "cifar-10-batches-mat");
    for (const fs::path& asked : {named.path(), fs::path()}) {
        const std::string said = complaint("cifar10", asked);
        check_says(said, "it holds CIFAR-10's Matlab version (cifar-10-batches-mat)");
        check_says(said, "data/download.sh cifar10");
    }
}

TEST_CASE("--data is never replaced, and broken files are never passed over") {
    const TemporaryFolder here, env, named;
    const Surroundings surroundings(here.path(), env.path());
    make_idx_set(env.path(), 1);
    check_says(complaint("mnist", named.path()),
               named.path().string() + ": --data names this folder");
    check_says(complaint("mnist", "/nowhere"), "it is not a folder");
    check_says(complaint("cifar10", named.path()), "expected data_batch_1.bin there or in");
    check_says(complaint("mnist", "", false), "incomplete MNIST: no t10k-images-idx3-ubyte");
    check_says(complaint("cifar10", ""), "run data/download.sh cifar10");
    check_says(complaint("folder:", ""), "expected folder:PATH");
    check_says(complaint("emnist", ""), "expected mnist, fashion, cifar10, builtin or folder:PATH");

    make_idx_set(env.path(), 1, Bytes(11, 3));
    check_says(complaint("mnist", ""), "holds 12 images");
    make_idx_set(env.path(), 1, Bytes(12, 10));
    check_says(complaint("mnist", ""), "byte 8: a label above 9");
    fs::resize_file(env / "train-images-idx3-ubyte", 20);
    make_idx_set(here / "data", 1);  // a good one further down the list does not hide it
    write_idx(env / "train-labels-idx1-ubyte", std::vector<int>{12}, Bytes(12, 3));
    check_says(complaint("mnist", ""), "the file has only 4");
    fs::remove(env / "train-labels-idx1-ubyte");
    check_says(complaint("mnist", ""), "incomplete MNIST: no train-labels-idx1-ubyte");
}

TEST_CASE("the real MNIST, where DIFFUSION_DATA has it") {
    const char* folder = std::getenv("DIFFUSION_DATA");
    if (folder == nullptr) return;
    const Dataset data = find_dataset("mnist", "", true);
    if (!mentions(data, "(DIFFUSION_DATA)")) return;
    CHECK(data.count == 60000);
    CHECK(data.height == 28);
    CHECK(data.width == 28);
    CHECK(data.channels == 1);
    CHECK(data.labels[0] == 5);
    std::vector<int> per_label(10);
    double sum = 0.0;
    for (std::uint8_t label : data.labels) ++per_label[label];
    for (std::uint8_t value : data.pixels) sum += value;
    CHECK(per_label ==
          std::vector<int>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
    CHECK(sum / (255.0 * 60000 * 784) == doctest::Approx(0.1306605).epsilon(1e-5));
    const Dataset test = find_dataset("mnist", "", false);
    CHECK(test.count == 10000);
    CHECK(test.labels[0] == 7);
}

TEST_SUITE_END();
