#pragma once
// A file's shape, which may have any number of sizes, for a message.
#include <span>
#include <string>

namespace diffusion {

/// "[2,1,28,28]"
inline std::string shape_text(std::span<const int> sizes) {
    std::string text;
    for (const int size : sizes) text += (text.empty() ? "" : ",") + std::to_string(size);
    return "[" + text + "]";
}

}  // namespace diffusion
