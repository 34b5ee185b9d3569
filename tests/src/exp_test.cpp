#include "kernels/exp.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>

using namespace diffusion;

TEST_SUITE_BEGIN("src kernel");

TEST_CASE("powers of two have a relative error below 2e-7 where softmax needs them") {
    using S = Simd<float>;
    const auto power = [](float x) { return power_of_two(S::fill(x))[0]; };
    double worst = 0;
    for (int i = 0; i <= 1270000; ++i) {
        const float x = -126.0f + 1e-4f * static_cast<float>(i);
        const double exact = std::exp2(static_cast<double>(x));
        const double off = std::abs(static_cast<double>(power(x)) - exact) / exact;
        if (!(off <= worst)) worst = off;  // so that a NaN counts too
    }
    CHECK(worst < 2e-7);
    CHECK(power(0) == 1);
    for (const float x : {-127.0f, -1e4f, -1e38f, -std::numeric_limits<float>::infinity()}) {
        CHECK(power(x) >= 0);
        CHECK(power(x) < 2e-38f);
    }
    CHECK(std::isnan(power(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("the polynomial exponential has a relative error below 2e-7 on its whole range") {
    double worst = 0;
    for (int i = 0; i <= 1750000; ++i) {
        const float x = -87.0f + 1e-4f * static_cast<float>(i);
        const double exact = std::exp(static_cast<double>(x));
        const double off = std::abs(static_cast<double>(fast_exp(x)) - exact) / exact;
        if (!(off <= worst)) worst = off;  // so that a NaN counts too
    }
    CHECK(worst < 2e-7);
    // Beyond it, for a number and for a register.
    using S = Simd<float>;
    const float infinity = std::numeric_limits<float>::infinity();
    const auto in_register = [](float x) { return fast_exp(S::fill(x))[0]; };
    for (const float x : {-88.0f, -1000.0f, -3e38f, -infinity}) {
        CHECK(fast_exp(x) < 2e-38f);
        CHECK(fast_exp(x) >= 0.0f);
        CHECK(in_register(x) == fast_exp(x));
    }
    for (const float x : {88.5f, 1000.0f, 3e38f, infinity}) {
        CHECK(fast_exp(x) > 1e38f);
        CHECK(std::isfinite(fast_exp(x)));
        CHECK(in_register(x) == fast_exp(x));
    }
    CHECK(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
    CHECK(std::isnan(fast_exp(S::fill(1.0f) * std::numeric_limits<float>::quiet_NaN())[0]));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(silu(200.0f) == 200.0f);
    CHECK(std::abs(silu(-200.0f)) < 1e-35f);
    CHECK(std::isnan(silu(nan)));
    CHECK(logistic(200.0f) == 1.0f);
    CHECK(logistic(-200.0f) < 1e-37f);
}

TEST_SUITE_END();
