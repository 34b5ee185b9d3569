// The settings in the file of chapter 5's judge: lines of the input, KEY=VALUE. It has no weights.
#include "05_measuring/classifier.hpp"
#include "fuzz/fuzz.hpp"
#include "io/safetensors.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {
        "model=classifier\ndata=mnist\nchecksum=00000000\nheight=28\nwidth=28\nchannels=1\nclasses="
        "10\nimages=60000\nseed=1",
        "model=classifier\ndata=\nchecksum=\nheight=9999\nwidth=9999\nchannels=9999\nclasses="
        "9999\nimages=999999999\nseed="};
}

void check(const std::string& input) {
    const auto path = folder() / "judge.safetensors";
    Safetensors file;
    for (std::size_t at = 0; at < input.size();) {
        const std::size_t end = std::min(input.find('\n', at), input.size());
        const std::string line = input.substr(at, end - at);
        file.metadata[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
        at = end + 1;
    }
    if (!accepted(path.string(), [&] { write_safetensors(path, file); })) return;  // not UTF-8
    must(!accepted(path.string(), [&] { load_classifier(path); }), "refused without weights");
}

}  // namespace diffusion::fuzz
