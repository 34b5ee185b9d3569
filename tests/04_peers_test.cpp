// Chapter 4: the network against diffusers' UNet2DModel.
#include <doctest/doctest.h>

#include "support/peers.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("ch04 golden");

TEST_CASE("UNet2DModel gives what diffusers gives: heads, levels, padding, clocks, labels, dtypes" *
          doctest::skip(!has_module())) {
    const auto settings = peer_settings("UNet2DModel");
    CHECK(settings.size() >= 4);
    for (const std::filesystem::path& setting : settings) {
        CAPTURE(setting);
        CHECK(difference_from_peer(setting) < 1e-5);
    }
}
