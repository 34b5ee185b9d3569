#pragma once
// What each file of this folder says of a format: files to begin with, and what must hold for any
// bytes. fuzz_main.cpp tries it out.
#include <cstring>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/check.hpp"

namespace diffusion::fuzz {

/// Good files of the format, small and of all its kinds; other inputs are made from these.
std::vector<std::string> seeds();

/// Reads the input, which can be anything. Throws if a rule is broken. Error that is not caught
/// is a broken rule, too, as is any other exception.
void check(const std::string& input);

/// A rule that does not hold.
struct Broken : std::logic_error {
    using std::logic_error::logic_error;
};
inline void must(bool holds, const std::string& rule) {
    if (!holds) throw Broken("this does not hold: " + rule);
}

/// Where `check` may write.
inline const TemporaryFolder& folder() {
    static const TemporaryFolder folder;
    return folder;
}

/// Whether a call returns. It may throw Error, whose message must be one short line that begins
/// with `where`.
template <class Call>
bool accepted(const std::string& where, Call call) {
    constexpr std::size_t kLongest = 1000;
    try {
        call();
        return true;
    } catch (const Error& error) {
        const std::string message = error.what();
        must(message.starts_with(where), "the message begins with " + where + ": " + message);
        must(message.size() <= where.size() + kLongest, "the message is short: " + message);
        for (const char c : message)
            must(static_cast<unsigned char>(c) >= ' ', "the message is one line: " + message);
        return false;
    }
}

/// The same numbers, bit for bit.
template <class T>
bool same_bits(std::span<const T> a, std::span<const T> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

}  // namespace diffusion::fuzz
