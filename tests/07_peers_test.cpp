// Chapter 7: the autoencoders against diffusers'.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "07_latent_vae/coding.hpp"
#include "support/peers.hpp"

using namespace diffusion;

namespace {

/// Where the weights of TAEF2 lie: in a folder of the data, or beside it. Empty: not here.
std::filesystem::path taef2() {
    const char* data = std::getenv("DIFFUSION_DATA");
    if (data == nullptr) return {};
    for (const char* place : {"taef2", "../taef2"}) {
        const std::filesystem::path folder = std::filesystem::path(data) / place;
        if (std::filesystem::exists(folder / "reference.safetensors")) return folder;
    }
    return {};
}

}  // namespace

TEST_SUITE_BEGIN("ch07 golden");

TEST_CASE("AutoencoderKL and AutoencoderTiny give what diffusers gives" *
          doctest::skip(!has_module())) {
    for (const char* name : {"AutoencoderKL", "AutoencoderTiny"}) {
        const auto settings = peer_settings(name);
        CHECK(settings.size() >= 2);
        for (const std::filesystem::path& setting : settings) {
            CAPTURE(setting);
            CHECK(difference_from_peer(setting) < 1e-5);
        }
    }
}

TEST_CASE("TAEF2's real weights give what its own code gives" * doctest::skip(taef2().empty())) {
    const TemporaryFolder folder;
    const std::filesystem::path script =
        std::filesystem::path(DIFFUSION_SOURCE_DIR) / "data" / "taef2.py";
    REQUIRE(std::system(("'" + script.string() + "' '" + taef2().string() + "' '" +
                         folder.path().string() + "'")
                            .c_str()) == 0);
    const Coder coder = load_coder(folder.path());
    CHECK(coder.latent_channels == 32);
    const SafetensorsFile reference(taef2() / "reference.safetensors");
    // [1,C,H,W] in the file, and pictures there are in [0, 1].
    const auto read = [&](const char* name, bool picture) {
        const StoredTensor& tensor = *reference.find(name);
        std::vector<float> values(tensor.count);
        reference.read<float>(tensor, 0, values);
        Array<float> x({1, tensor.shape[2], tensor.shape[3], tensor.shape[1]});
        std::size_t i = 0;
        for (int c = 0; c < x.shape()[3]; ++c)
            for (int h = 0; h < x.shape()[1]; ++h)
                for (int w = 0; w < x.shape()[2]; ++w)
                    x.tensor()(0, h, w, c) = picture ? 2 * values[i++] - 1 : values[i++];
        return x;
    };
    const auto largest_difference = [](const Array<float>& a, const Array<float>& b) {
        REQUIRE(a.shape() == b.shape());
        float worst = 0;
        for (std::size_t i = 0; i < a.size(); ++i)
            if (const float off = std::abs(a.data()[i] - b.data()[i]); !(off <= worst)) worst = off;
        return worst;
    };
    const Array<float> latent = read("latent", false);
    CHECK(largest_difference(coder.encode(read("image", true).tensor()), latent) < 5e-5f);
    CHECK(largest_difference(coder.decode(latent.tensor()), read("reconstruction", true)) < 5e-5f);
    CHECK(largest_difference(coder.decode(read("latent2", false).tensor()),
                             read("picture2", true)) < 5e-5f);
}

TEST_SUITE_END();
