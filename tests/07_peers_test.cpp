// Chapter 7: the autoencoders against diffusers'.
#include <doctest/doctest.h>

#include "support/peers.hpp"

using namespace diffusion;

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
