// Chapter 8: text encoders and the UNet that reads a text against transformers and diffusers.
#include <doctest/doctest.h>

#include "support/peers.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch08 golden");

TEST_CASE("CLIP, T5 and UNet2DConditionModel give what their libraries give" *
          doctest::skip(!has_module())) {
    struct Class {
        const char* name;
        std::size_t settings;
    };
    for (const auto& [name, count] :
         {Class{"CLIPTextModel", 2}, Class{"CLIPModel", 1}, Class{"T5EncoderModel", 2},
          Class{"UNet2DConditionModel", 3}}) {
        const auto settings = peer_settings(name);
        CHECK(settings.size() >= count);
        for (const std::filesystem::path& setting : settings) {
            CAPTURE(setting);
            CHECK(difference_from_peer(setting) < 1e-5);
        }
    }
}

TEST_SUITE_END();
