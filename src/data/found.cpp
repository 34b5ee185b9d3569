#include "data/found.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <vector>

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// A file or folder that gives a form of a data set away.
struct Trace {
    const char *name, *what, *advice;
};
constexpr const char* kFetch = "data/download.sh fetches what is wanted";
constexpr std::array kTraces{
    Trace{"cifar-10-batches-mat", "CIFAR-10's Matlab version",
          "wanted is the binary version: data/download.sh cifar10 fetches it"},
    Trace{"data_batch_1.mat", "CIFAR-10's Matlab version",
          "wanted is the binary version: data/download.sh cifar10 fetches it"},
    Trace{"cifar-10-python.tar.gz", "CIFAR-10 as it was packed", "unpack it with tar -xzf"},
    Trace{"cifar-10-binary.tar.gz", "CIFAR-10 as it was packed", "unpack it with tar -xzf"},
    Trace{"archive.zip", "an archive that is still packed", "unpack it"},
    Trace{"mnist.npz", "MNIST as Keras keeps it", kFetch},
    Trace{"mnist_train.csv", "MNIST as a table", kFetch},
    Trace{"train.csv", "a table", kFetch}};

/// The names in a folder, in order; the hidden ones are left out.
std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (!name.starts_with('.')) names.push_back(name);
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace

std::string known_form_in(const fs::path& folder) {
    std::error_code ignored;
    for (const Trace& trace : kTraces) {
        if (fs::exists(folder / trace.name, ignored))
            return std::string("; it holds ") + trace.what + " (" + trace.name +
                   "): " + trace.advice;
    }
    return {};
}

std::string what_lies_in(const fs::path& folder) {
    constexpr std::size_t kShown = 3;
    const std::string known = known_form_in(folder);
    if (!known.empty()) return known;
    const std::vector<std::string> names = names_in(folder);
    if (names.empty()) return "; it is empty";
    std::string text = "; it holds ";
    for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
        text += (i > 0 ? ", " : "") + names[i];
    if (names.size() > kShown) text += " and " + std::to_string(names.size() - kShown) + " more";
    return text;
}

}  // namespace diffusion
