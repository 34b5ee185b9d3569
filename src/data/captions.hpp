#pragma once
// Captions of a folder's pictures.
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffusion {

/// A line of a table of texts, and its number in the file, from 1.
struct TextRow {
    int line;
    std::vector<std::string> fields;
};

/// Comma-separated texts, as RFC 4180 has them: a field with commas, line breaks or quotes stands
/// in double quotes, and a quote in it is doubled. Fails, with the line's number, on quotes that do
/// not end or that end before the field does. `where` opens the message.
std::vector<TextRow> split_texts(std::string_view text, const std::string& where);

/// A text as a field of such a table.
std::string as_field(std::string_view text);

/// What is said of each of these pictures, in their order. Either the folder holds captions.csv,
/// whose first line names its columns, "file" and "caption" among them, or there is NAME.txt beside
/// each picture NAME.png, of which line breaks and spaces around the text are left out. Empty if
/// the folder has no captions. Fails if a picture has none, two or an empty one, and if a line of
/// the table belongs to a picture that is not there.
std::vector<std::string> read_captions(const std::filesystem::path& folder,
                                       std::span<const std::filesystem::path> pictures);

}  // namespace diffusion
