// Chapter 8: text encoders and the UNet that reads a text against transformers and diffusers.
#include <doctest/doctest.h>

#include "08_text_conditioning/clip_tokenizer.hpp"
#include "io/json.hpp"
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

TEST_CASE("CLIP's tokenizer gives the library's ids, for words and for any printable characters") {
    const std::filesystem::path folder = peer_settings("CLIPTokenizer").front();
    const ClipTokenizer tokenizer = ClipTokenizer::load(folder);
    const nlohmann::json cases = read_json(folder / "cases.json");
    CHECK(cases.size() >= 400);
    for (const nlohmann::json& each : cases) {
        const std::string text = each[0];
        const std::vector<int> expected = each[1];
        CAPTURE(text);
        CHECK(tokenizer.tokens(text, static_cast<int>(expected.size())).ids == expected);
    }
}

TEST_SUITE_END();
