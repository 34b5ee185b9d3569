#include "data/find.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "data/cifar10.hpp"
#include "data/found.hpp"
#include "data/idx.hpp"
#include "data/image_folder.hpp"
#include "data/strokes.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr int kBuiltinTrain = 20000, kBuiltinTest = 2000;
constexpr std::uint64_t kTrainSeed = 1, kTestSeed = 2;

struct Kind {
    const char *name, *title;
    std::vector<const char*> subfolders;  // as data/download.sh and other programs name them
    std::vector<const char*> files;       // one of these, as look_for finds it, marks the folder
};

const Kind& find_kind(const std::string& name) {
    static const std::vector<const char*> idx_files{
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",  "train-images.idx3-ubyte", "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte",  "t10k-labels.idx1-ubyte"};
    static const std::array<Kind, 3> kinds{
        Kind{"mnist", "MNIST", {"mnist", "MNIST", "MNIST/raw"}, idx_files},
        Kind{"fashion",
             "Fashion-MNIST",
             {"fashion", "fashion-mnist", "FashionMNIST", "FashionMNIST/raw"},
             idx_files},
        Kind{"cifar10",
             "CIFAR-10",
             {"cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin",
              "cifar-10-batches-py", "cifar10/cifar-10-batches-py"},
             {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin", "test_batch.bin", "data_batch_1", "test_batch"}}};
    for (const Kind& kind : kinds) {
        if (name == kind.name) return kind;
    }
    fail("unknown data set '", name, "', expected mnist, fashion, cifar10, builtin or folder:PATH");
}

/// The file or its .gz, whichever is there, or either in a folder of the file's own name: Kaggle's
/// archive of MNIST has such folders. Empty when there is none, or the folder may not be read.
fs::path look_for(const fs::path& path) {
    std::error_code ignored;
    for (const fs::path& plain : {path, path / path.filename()}) {
        for (const fs::path& file : {plain, fs::path(plain.string() + ".gz")}) {
            if (fs::is_regular_file(file, ignored)) return file;
        }
    }
    return {};
}

fs::path idx_file(const fs::path& folder, bool train, const char* what, const char* type) {
    const std::string stem = std::string(train ? "train-" : "t10k-") + what;
    for (const char* mark : {"-", "."}) {  // some unpackers turn "-idx3" into ".idx3"
        const fs::path path = look_for(folder / (stem + mark + type));
        if (!path.empty()) return path;
    }
    return {};
}

/// MNIST and Fashion-MNIST use the same file names; the first ten labels tell which it is.
/// Returns the other set's title when the folder holds that one.
std::string holds_other_idx_set(const fs::path& folder, const std::string& kind) {
    using Start = std::array<std::uint8_t, 10>;
    const bool want_mnist = kind == "mnist";
    for (bool train : {true, false}) {
        const fs::path path = idx_file(folder, train, "labels", "idx1-ubyte");
        if (path.empty()) continue;
        const Start mnist = train ? Start{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}  //
                                  : Start{7, 2, 1, 0, 4, 1, 4, 9, 5, 9};
        const Start fashion =
            train ? Start{9, 0, 0, 3, 0, 2, 7, 2, 5, 5} : Start{9, 2, 1, 1, 6, 1, 4, 6, 5, 7};
        const Start& other = want_mnist ? fashion : mnist;
        const std::vector<std::uint8_t> labels = read_idx_labels(path);
        if (labels.size() >= other.size() && std::equal(other.begin(), other.end(), labels.begin()))
            return want_mnist ? "Fashion-MNIST" : "MNIST";
    }
    return {};
}

Dataset read_idx_set(const Kind& kind, const fs::path& folder, bool train) {
    const fs::path image_path = idx_file(folder, train, "images", "idx3-ubyte");
    const fs::path label_path = idx_file(folder, train, "labels", "idx1-ubyte");
    const char* split = train ? "train" : "t10k";
    require(!image_path.empty(), folder.string(), ": incomplete ", kind.title, ": no ", split,
            "-images-idx3-ubyte or .gz (run data/download.sh ", kind.name, ")");
    require(!label_path.empty(), folder.string(), ": incomplete ", kind.title, ": no ", split,
            "-labels-idx1-ubyte or .gz (run data/download.sh ", kind.name, ")");
    IdxArray images = read_idx_images(image_path);
    Dataset data;
    data.labels = read_idx_labels(label_path);
    require(static_cast<std::size_t>(images.shape[0]) == data.labels.size(), image_path.string(),
            " holds ", images.shape[0], " images, but ", label_path.string(), " holds ",
            data.labels.size(), " labels");
    const auto bad =
        std::find_if(data.labels.begin(), data.labels.end(), [](int l) { return l > 9; });
    require(bad == data.labels.end(), label_path.string(), ": byte ",
            8 + (bad - data.labels.begin()), ": a label above 9");
    data.name = kind.name;
    data.count = images.shape[0];
    data.height = images.shape[1];
    data.width = images.shape[2];
    data.channels = images.shape.size() == 4 ? images.shape[3] : 1;
    data.pixels = std::move(images.bytes);
    data.source = std::string(kind.title) + ", " + std::to_string(data.count) +
                  (train ? " training" : " test") + " pictures from " + folder.string();
    return data;
}

/// The set in `folder` or in one of its usual subfolders, if any of its files is there.
std::optional<Dataset> look_in(const Kind& kind, const fs::path& folder, bool named_by_user,
                               bool train) {
    std::vector<fs::path> places{folder};
    for (const char* subfolder : kind.subfolders) places.push_back(folder / subfolder);
    const bool cifar = kind.files.front() == std::string("data_batch_1.bin");
    std::string other;
    std::error_code ignored;
    for (const fs::path& place : places) {
        if (std::none_of(kind.files.begin(), kind.files.end(),
                         [&](const char* file) { return !look_for(place / file).empty(); }))
            continue;
        if (cifar) return read_cifar10(place, train);
        const std::string held = holds_other_idx_set(place, kind.name);
        if (held.empty()) return read_idx_set(kind, place, train);
        other = "; it holds " + held;
    }
    if (!named_by_user) return std::nullopt;
    const bool is_folder = fs::is_directory(folder, ignored);
    fail(folder.string(), ": --data names this folder, but it has no ", kind.title,
         !is_folder      ? " (it is not a folder)"
         : other.empty() ? what_lies_in(folder)
                         : other,
         "; expected ", cifar ? "data_batch_1.bin" : "train-images-idx3-ubyte.gz", " there or in ",
         (folder / kind.name).string());
}

Dataset builtin_digits(bool train) {
    return stroke_digits(train ? kBuiltinTrain : kBuiltinTest, train ? kTrainSeed : kTestSeed);
}

}  // namespace

std::string DataPlace::said() const {
    return named_by == "DIFFUSION_DATA" ? named_by + "=" + folder.string() : folder.string();
}

std::vector<DataPlace> data_places(const std::string& data_dir) {
    if (!data_dir.empty()) return {{data_dir, "--data"}};
    std::vector<DataPlace> places;
    if (const char* folder = std::getenv("DIFFUSION_DATA"); folder != nullptr && *folder != '\0')
        places.push_back({folder, "DIFFUSION_DATA"});
    places.push_back({"data/", ""});
    return places;
}

Dataset find_dataset(const std::string& kind_name, const std::string& data_dir, bool train) {
    if (kind_name == "builtin") return builtin_digits(train);
    if (kind_name.starts_with("folder:")) {
        require(kind_name.size() > 7, "data set 'folder:': expected folder:PATH");
        return read_image_folder(kind_name.substr(7));
    }
    const Kind& kind = find_kind(kind_name);

    std::string looked, found;
    for (const DataPlace& place : data_places(data_dir)) {
        if (auto data = look_in(kind, place.folder, !data_dir.empty(), train)) {
            if (!place.named_by.empty()) data->source += " (" + place.named_by + ")";
            return *std::move(data);
        }
        looked += (looked.empty() ? "" : " or ") + place.said();
        if (found.empty()) found = known_form_in(place.folder);
    }
    require(kind_name == "mnist", "no ", kind.title, " in ", looked, found,
            ": run data/download.sh ", kind_name, ", or give its folder with --data DIR");
    Dataset data = builtin_digits(train);
    data.source += "; no MNIST in " + looked + found + " (data/download.sh mnist fetches it)";
    return data;
}

Split find_split(const std::string& kind, const std::string& data_dir) {
    if (kind.starts_with("folder:")) {
        const Dataset all = find_dataset(kind, data_dir, true);
        return {all, all};
    }
    return {find_dataset(kind, data_dir, true), find_dataset(kind, data_dir, false)};
}

}  // namespace diffusion
