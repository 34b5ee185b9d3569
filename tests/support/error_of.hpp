#pragma once
// What a call complains about: lets a test look at the text of an Error, and at the one-line rule
// for all of them.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "tensor/check.hpp"

namespace diffusion {

/// The message of the Error that `call` throws; "no error" if it returns, and a note if the message
/// is not one line.
template <class Call>
std::string error_of(Call call) {
    try {
        call();
    } catch (const Error& error) {
        const std::string message = error.what();
        return message.find('\n') == std::string::npos ? message : "(not one line) " + message;
    }
    return "no error";
}

inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

/// Plain file access, so that tests of readers and writers do not use the code they test.
inline void put_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}
inline std::string get_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace diffusion
