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
#include "io/safetensors.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::array kWeights = {"diffusion_pytorch_model", "model"};
constexpr std::array kSettings = {"config.json",      "scheduler_config.json",
                                  "model_index.json", "preprocessor_config.json",
                                  "tokenizer.json",   "tokenizer_config.json"};

/// What rounding changes at most, as a part of the largest number of its tensor.
double largest_change(const Safetensors& before, const Safetensors& after) {
    double most = 0;
    for (std::size_t i = 0; i < before.arrays.size(); ++i) {
        double largest = 0, change = 0;
        for (std::size_t k = 0; k < before.arrays[i].values.size(); ++k) {
            const auto v = static_cast<double>(before.arrays[i].values[k]);
            largest = std::max(largest, std::abs(v));
            change = std::max(change, std::abs(static_cast<double>(after.arrays[i].values[k]) - v));
        }
        if (largest > 0) most = std::max(most, change / largest);
    }
    return most;
}

/// The name of a folder's weights, without its ending.
std::string weights_name(const fs::path& folder) {
    for (const char* name : kWeights)
        for (const char* ending : {".safetensors", ".safetensors.index.json"})
            if (fs::exists(folder / (std::string(name) + ending))) return name;
    fail(folder.string(), ": has a config.json, but no ", kWeights[0], ".safetensors and no ",
         kWeights[1], ".safetensors");
}

void halve_weights(const fs::path& from, const fs::path& to) {
    const std::string file = weights_name(from) + ".safetensors";
    const Safetensors content = read_safetensors(from / file);  // or its shards
    std::vector<ArrayView> arrays;
    std::size_t numbers = 0;
    for (const NamedArray& array : content.arrays) {
        arrays.push_back({array.name, array.shape, array.values});
        numbers += array.values.size();
    }
    write_halves(to / file, arrays, content.metadata);
    std::printf("%s: %zu numbers, %.1f MB; rounding changed them by up to %.1e of the largest\n",
                (from / file).c_str(), numbers, static_cast<double>(fs::file_size(to / file)) / 1e6,
                largest_change(content, read_safetensors(to / file)));
}

/// Copies the settings of a folder, if it has some, and where these are a model's its weights.
void halve(const fs::path& from, const fs::path& to) {
    for (const char* name : kSettings) {
        if (!fs::exists(from / name)) continue;
        fs::create_directories(to);
        fs::copy_file(from / name, to / name);
    }
    if (fs::exists(from / kSettings[0])) halve_weights(from, to);
}

void run(const fs::path& model, const fs::path& out) {
    require(fs::is_directory(model), model.string(), ": is no folder");
    require(!fs::exists(out), out.string(), ": is there already; give another --out");
    require(fs::exists(model / "config.json") || fs::exists(model / "model_index.json"),
            model.string(), ": holds no config.json and no model_index.json: no model");
    fs::path part = out;  // under another name until all is there
    part += ".part";
    fs::remove_all(part);
    try {
        halve(model, part);
        for (const fs::directory_entry& entry : fs::directory_iterator(model))
            if (entry.is_directory()) halve(entry.path(), part / entry.path().filename());
    } catch (...) {
        fs::remove_all(part);
        throw;
    }
    fs::rename(part, out);
    std::printf("%s: done\n", out.c_str());
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
