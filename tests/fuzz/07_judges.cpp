// The settings in the files of chapter 7's judges: lines of the input, KEY=VALUE. They have no
// weights.
#include "07_latent_vae/scene_judge.hpp"
#include "07_latent_vae/word_reader.hpp"
#include "fuzz/fuzz.hpp"
#include "io/safetensors.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {
        "model=scene judge\ndata=scenes\nchecksum=00000000\nimages=60000\nseed=1",
        "model=classifier\ndata=scenes\nchecksum=00000000\nheight=32\nwidth=32\nchannels=1\n"
        "classes=10\nimages=60000\nseed=1",
        "model=classifier\ndata=words\nchecksum=\nheight=9999\nwidth=9999\nchannels=9999\nclasses="
        "36\nimages=999999999\nseed="};
}

void check(const std::string& input) {
    const auto path = folder() / "judge.safetensors";
    // Of ten digits, and of both sizes of each.
    const std::vector<float> slants(10, 0.1f), thicknesses(20, 0.1f);
    Safetensors file{{{"measured.slant", {10}, slants}, {"measured.thickness", {20}, thicknesses}},
                     {}};
    for (std::size_t at = 0; at < input.size();) {
        const std::size_t end = std::min(input.find('\n', at), input.size());
        const std::string line = input.substr(at, end - at);
        file.metadata[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
        at = end + 1;
    }
    if (!accepted(path.string(), [&] { write_safetensors(path, file); })) return;  // not UTF-8
    must(!accepted(path.string(), [&] { SceneJudge::load(path); }), "refused without weights");
    must(!accepted(path.string(), [&] { WordReader::load(path); }), "refused without weights");
}

}  // namespace diffusion::fuzz
