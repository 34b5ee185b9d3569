#pragma once
// For tests of readers and writers: what a call complains about, and files made and read without
// the code under test.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
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

inline void put_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}
inline std::string get_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Numbers as they lie in memory.
template <class T>
std::string bytes_of(std::initializer_list<T> values) {
    std::string bytes(values.size() * sizeof(T), '\0');
    std::memcpy(bytes.data(), values.begin(), bytes.size());
    return bytes;
}

/// A safetensors file from its header and the bytes behind it.
inline std::string safetensors(const std::string& header, const std::string& data) {
    return bytes_of<std::uint64_t>({header.size()}) + header + data;
}

}  // namespace diffusion
