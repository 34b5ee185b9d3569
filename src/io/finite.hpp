#pragma once
// Results that are not finite never go out unnoticed.

namespace diffusion {

/// How a message ends that refuses to write one.
inline constexpr const char* kNotWritten =
    "; it is not written: look for what is not finite, or far too large, in the model or the data "
    "that it comes from";

}  // namespace diffusion
