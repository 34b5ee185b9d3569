#pragma once
// JSON from and to files, with errors that name the file.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace diffusion {

/// Parses strictly: an object that has a key twice is an Error, as are more than 64 levels. `where`
/// opens every message.
nlohmann::json parse_json(std::string_view text, const std::string& where);

nlohmann::json read_json(const std::filesystem::path& path);

/// Indented by two spaces, keys in alphabetical order, written atomically. Error for a number that
/// is not finite: JSON has none.
void write_json(const std::filesystem::path& path, const nlohmann::json& value);

/// Text from a file as it may stand in a message: in quotes, on one line, cut after 80 characters.
std::string in_quotes(std::string_view text);

}  // namespace diffusion
