#pragma once
// Errors. Everything that can go wrong with input ends in fail(): one line, thrown as Error,
// printed by main.
#include <sstream>
#include <stdexcept>
#include <string>

namespace diffusion {

/// A failure with a message for the person at the keyboard: what, where, and what was expected.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str());
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) fail(parts...);
}

}  // namespace diffusion
