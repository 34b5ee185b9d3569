#include "data/captions.hpp"

#include <algorithm>
#include <map>

#include "io/files.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSpaces = " \t\r\n", kByteOrderMark = "\xEF\xBB\xBF";

std::string trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(kSpaces) - first + 1));
}

std::string at_line(const std::string& where, int line) {
    return where + ": line " + std::to_string(line);
}

/// The text of a file, without the mark that some programs put before it.
std::string text_of(const fs::path& path) {
    const std::vector<std::byte> bytes = read_file(path);
    std::string_view text = as_text(bytes);
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    return std::string(text);
}

std::size_t column(const TextRow& names, const char* wanted, const std::string& where) {
    const auto found = std::ranges::find(names.fields, wanted);
    require(found != names.fields.end(), where, ": has no column \"", wanted,
            "\"; its first line must name its columns: file,caption");
    return static_cast<std::size_t>(found - names.fields.begin());
}

std::vector<std::string> captions_of_table(const fs::path& path,
                                           std::span<const fs::path> pictures) {
    const std::string where = path.string();
    const std::vector<TextRow> rows = split_texts(text_of(path), where);
    require(!rows.empty(), where, ": is empty, expected lines of file,caption");
    const std::size_t file = column(rows.front(), "file", where),
                      caption = column(rows.front(), "caption", where);
    std::map<std::string, std::string> of;
    for (const TextRow& row : std::span(rows).subspan(1)) {
        const std::string place = at_line(where, row.line);
        require(row.fields.size() == rows.front().fields.size(), place, ": ", row.fields.size(),
                " fields, expected ", rows.front().fields.size());
        const std::string &name = row.fields[file], said = trimmed(row.fields[caption]);
        require(!said.empty(), place, ": the caption is empty");
        require(
            std::ranges::any_of(pictures, [&](const fs::path& p) { return p.filename() == name; }),
            place, ": there is no picture ", in_quotes(name));
        require(of.emplace(name, said).second, place, ": a second caption of ", in_quotes(name));
    }
    std::vector<std::string> captions;
    for (const fs::path& picture : pictures) {
        const auto found = of.find(picture.filename().string());
        require(found != of.end(), where, ": says nothing of ", picture.filename().string());
        captions.push_back(found->second);
    }
    return captions;
}

}  // namespace

std::vector<TextRow> split_texts(std::string_view text, const std::string& where) {
    std::vector<TextRow> rows;
    int line = 1;
    for (std::size_t i = 0; i < text.size();) {
        TextRow row{line, {}};
        for (bool more = true; more;) {
            std::string field;
            if (text[i] == '"') {
                const int begun = line;
                for (++i;; ++i) {
                    require(i < text.size(), at_line(where, begun), ": quotes that do not end");
                    if (text[i] == '"' && text.substr(i, 2) != "\"\"") break;
                    if (text[i] == '"') ++i;
                    if (text[i] == '\n') ++line;
                    field += text[i];
                }
                ++i;
                if (text.substr(i, 2) == "\r\n") ++i;
                require(i == text.size() || text[i] == ',' || text[i] == '\n', at_line(where, line),
                        ": quotes end before the field does");
            } else {
                const std::size_t end = std::min(text.find_first_of(",\n", i), text.size());
                field = text.substr(i, end - i);
                if (end < text.size() && text[end] == '\n' && field.ends_with('\r'))
                    field.pop_back();
                i = end;
            }
            row.fields.push_back(std::move(field));
            more = i < text.size() && text[i] == ',';
            if (i < text.size()) ++i;
            if (more && i == text.size()) {  // the file ends with an empty field
                row.fields.emplace_back();
                more = false;
            }
        }
        ++line;
        if (row.fields.size() > 1 || !row.fields.front().empty()) rows.push_back(std::move(row));
    }
    return rows;
}

std::string as_field(std::string_view text) {
    if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
    std::string field = "\"";
    for (const char c : text) field += c == '"' ? "\"\"" : std::string(1, c);
    return field + "\"";
}

std::vector<std::string> read_captions(const fs::path& folder, std::span<const fs::path> pictures) {
    if (const fs::path table = folder / "captions.csv"; fs::exists(table))
        return captions_of_table(table, pictures);
    std::vector<std::string> captions;
    fs::path without;
    for (const fs::path& picture : pictures) {
        const fs::path path = fs::path(picture).replace_extension(".txt");
        if (!fs::exists(path)) {
            without = picture;
            continue;
        }
        captions.push_back(trimmed(text_of(path)));
        require(!captions.back().empty(), path.string(), ": the caption is empty");
    }
    require(captions.empty() || captions.size() == pictures.size(), without.string(),
            ": has no caption, but other pictures have; expected ", without.stem().string(),
            ".txt beside it");
    return captions;
}

}  // namespace diffusion
