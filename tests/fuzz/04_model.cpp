// The settings in a model's file: lines of the input, KEY=VALUE. Its weights are good.
#include "04_unet/model.hpp"
#include "fuzz/fuzz.hpp"
#include "io/safetensors.hpp"

namespace diffusion::fuzz {
namespace {

const std::filesystem::path& good_model() {
    static const std::filesystem::path path = folder() / "good.safetensors";
    return path;
}

Safetensors make_good_model() {
    const DenoisingModel model(unet_config(1, 8, {1}, 1), "linear", 40, "eps", 4, 4, "mnist");
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 1);
    model.save(good_model(), values);
    return read_safetensors(good_model());
}

}  // namespace

std::vector<std::string> seeds() {
    const auto with = [](const std::string& more) {
        return "model=unet\ndata=mnist\nheight=4\nwidth=4\n" + more;
    };
    return {
        with("channels=1\nbase=8\nmultipliers=1\nheads=1\nschedule=linear\nT=40\nprediction=eps"),
        with("channels=3\nbase=8\nmultipliers=1,2\nheads=2\nschedule=cosine\nT=9999\nprediction=v"),
        with("channels=9999\nbase=9999\nmultipliers=9999,9999,9999\nheads=9999\nschedule="
             "sigmoid\nT=1\nprediction=x0"),
        with("channels=1\nbase=8\nmultipliers=1,\nheads=3\nschedule=scaled_linear\nT="
             "10\nprediction=score")};
}

void check(const std::string& input) {
    const auto path = folder() / "model.safetensors", again = folder() / "again.safetensors";
    static Safetensors file = make_good_model();
    file.metadata.clear();
    for (std::size_t at = 0; at < input.size();) {
        const std::size_t end = std::min(input.find('\n', at), input.size());
        const std::string line = input.substr(at, end - at);
        file.metadata[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
        at = end + 1;
    }
    if (!accepted(path.string(), [&] { write_safetensors(path, file); })) return;  // not UTF-8
    std::optional<LoadedModel> loaded;
    if (!accepted(path.string(), [&] { loaded.emplace(load_model(path)); })) return;
    loaded->model.save(again, loaded->values);
    must(same_bits<float>(load_model(again).values, loaded->values), "written and read again");
}

}  // namespace diffusion::fuzz
