// halve --model FOLDER --out FOLDER: copies a model with its weights in half precision, as those of
// data/models were made. The model may be a pipeline; of each of its parts the settings and the
// weights are copied, and nothing else.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "app/app.hpp"
#include "io/files.hpp"
#include "io/safetensors.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::array kWeights = {"diffusion_pytorch_model.safetensors", "model.safetensors"};
constexpr std::array kSettings = {"config.json",      "scheduler_config.json",
                                  "model_index.json", "preprocessor_config.json",
                                  "tokenizer.json",   "tokenizer_config.json"};

/// What rounding changes at most, as a part of the largest number of its tensor.
double largest_change(const fs::path& before, const fs::path& after) {
    const Safetensors a = read_safetensors(before), b = read_safetensors(after);
    double most = 0;
    for (std::size_t i = 0; i < a.arrays.size(); ++i) {
        double largest = 0, change = 0;
        for (std::size_t k = 0; k < a.arrays[i].values.size(); ++k) {
            const auto v = static_cast<double>(a.arrays[i].values[k]);
            largest = std::max(largest, std::abs(v));
            change = std::max(change, std::abs(static_cast<double>(b.arrays[i].values[k]) - v));
        }
        if (largest > 0) most = std::max(most, change / largest);
    }
    return most;
}

/// Copies what a folder has of a model. Returns whether it has weights.
bool halve(const fs::path& from, const fs::path& to) {
    bool found = false;
    for (const char* name : kWeights) {
        if (!fs::exists(from / name)) continue;
        const Safetensors content = read_safetensors(from / name);
        std::vector<ArrayView> arrays;
        std::size_t numbers = 0;
        for (const NamedArray& array : content.arrays) {
            arrays.push_back({array.name, array.shape, array.values});
            numbers += array.values.size();
        }
        fs::create_directories(to);
        write_halves(to / name, arrays, content.metadata);
        std::printf(
            "%s: %zu numbers, %.1f MB; rounding changed them by up to %.1e of the largest\n",
            (to / name).c_str(), numbers, static_cast<double>(fs::file_size(to / name)) / 1e6,
            largest_change(from / name, to / name));
        found = true;
    }
    for (const char* name : kSettings) {
        if (!fs::exists(from / name)) continue;
        fs::create_directories(to);
        fs::copy_file(from / name, to / name);
    }
    return found;
}

void run(const fs::path& model, const fs::path& out) {
    require(fs::is_directory(model), model.string(), ": is no folder");
    require(!fs::exists(out), out.string(), ": is there already; give another --out");
    bool found = halve(model, out);
    for (const fs::directory_entry& part : fs::directory_iterator(model)) {
        if (!part.is_directory()) continue;
        const fs::path name = part.path().filename();
        if (std::ranges::any_of(kSettings,
                                [&](const char* file) { return fs::exists(part.path() / file); }))
            found = halve(part.path(), out / name) || found;
    }
    require(found, model.string(), ": holds no ", kWeights[0], " and no ", kWeights[1]);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    CLI::App app("Copies a model with its weights in half precision.", "halve");
    std::filesystem::path model, out;
    app.add_option("--model", model, "the folder of a model, or of a pipeline of models")
        ->required();
    app.add_option("--out", out, "the folder to write")->required();
    return diffusion::run_app(app, argc, argv, [&] { diffusion::run(model, out); });
}
