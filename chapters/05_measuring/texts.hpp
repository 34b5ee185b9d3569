#pragma once
// Numbers as tables show them.
#include <algorithm>
#include <cstdio>
#include <string>

namespace diffusion {

/// 0.1234 as "12.3 %".
inline std::string percent(double share) {
    share = std::max(share, 0.0);  // an interval may begin a rounding below
    char text[16];
    std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
    return text;
}

inline std::string fixed(double x, int decimals) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*f", decimals, x);
    return text;
}

}  // namespace diffusion
