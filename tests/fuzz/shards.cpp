// The index of a model in several safetensors files. The two files beside it are good.
#include "fuzz/fuzz.hpp"
#include "io/safetensors.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {
        R"({"metadata":{"total_size":12},"weight_map":{"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"}})",
        R"({"weight_map":{"x":"a.safetensors","y":"a.safetensors"}})",
        R"({"weight_map":{"z":"b.safetensors"}})",
        R"({"weight_map":{"x":"b.safetensors"}})",
        R"({"weight_map":{"x":"../a.safetensors"}})",
        R"({"weight_map":{}})",
        "version https://git-lfs.github.com/spec/v1\n"};
}

void check(const std::string& input) {
    const auto index = folder() / "x.safetensors.index.json";
    const std::vector<float> one{1};
    if (!std::filesystem::exists(folder() / "b.safetensors")) {
        write_safetensors(folder() / "a.safetensors", {{{"x", {1}, one}, {"y", {}, one}}, {}});
        write_safetensors(folder() / "b.safetensors", {{{"z", {1, 1}, one}}, {{"key", "value"}}});
    }
    put_text(index, input);
    // An error is of the index, or of a file that it names.
    if (!accepted(folder().path().string(), [&] { const SafetensorsFile file(index); })) return;
    const Safetensors content = read_safetensors(folder() / "x.safetensors");
    for (const NamedArray& array : content.arrays) must(array.values == one, "a number of a shard");
    must(content.arrays.size() <= 3, "no tensor twice");
}

}  // namespace diffusion::fuzz
