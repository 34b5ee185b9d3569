#include "io/csv.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <system_error>

#include "io/files.hpp"
#include "io/finite.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

std::string joined(const std::vector<std::string>& fields) {
    std::string line;
    for (const std::string& field : fields) line += (line.empty() ? "" : ",") + field;
    return line;
}

std::vector<std::string> split(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::vector<std::string> fields;
    for (;;) {
        const std::size_t comma = line.find(',');
        fields.emplace_back(line.substr(0, comma));
        if (comma == std::string_view::npos) return fields;
        line.remove_prefix(comma + 1);
    }
}

double to_number(const std::string& field, const std::string& where) {
    char* end = nullptr;
    const double value = std::strtod(field.c_str(), &end);
    require(!field.empty() && end == field.c_str() + field.size(), where,
            ": expected a number, found ", in_quotes(field));
    return value;
}

std::string place(const fs::path& path, std::size_t line) {
    return path.string() + ": line " + std::to_string(line);
}

}  // namespace

void append_shortest(std::string& line, double x) {
    std::array<char, 64> text{};
    char* const end = text.data() + text.size();
    const bool whole = std::abs(x) < 1e15 && x == std::trunc(x);
    const auto result = whole ? std::to_chars(text.data(), end, x, std::chars_format::fixed)
                              : std::to_chars(text.data(), end, x);
    line.append(text.data(), result.ptr);
}

std::string shortest(double x) {
    std::string text;
    append_shortest(text, x);
    return text;
}

CsvWriter::CsvWriter(fs::path path, const std::vector<std::string>& columns, bool append)
    : path_(std::move(path)), columns_(columns) {
    const std::string header = joined(columns);
    require(!columns.empty(), path_.string(), ": a table needs at least one column");
    for (const std::string& column : columns) {
        require(!column.empty() && column.find_first_of(",\"\r\n") == std::string::npos,
                path_.string(), ": column name ", in_quotes(column),
                " is empty or holds a comma, quote or line end");
    }
    bool has_header = false;
    if (append && fs::exists(path_)) {
        keep_csv_rows(path_, 0, std::numeric_limits<double>::infinity());
        const std::vector<std::byte> old = read_file(path_);
        const std::string first(as_text(old).substr(0, as_text(old).find('\n')));
        has_header = !old.empty();
        require(!has_header || first == header, place(path_, 1), ": the columns are ",
                in_quotes(first), ", expected ", in_quotes(header),
                "; move the file away or start without --resume");
    }
    errno = 0;
    file_.open(path_, append ? std::ios::app : std::ios::trunc);
    if (!file_) fail(path_.string(), ": cannot write: ", std::generic_category().message(errno));
    if (!has_header) write_line(header);
}

void CsvWriter::row(std::initializer_list<double> values) {
    row(std::span<const double>(values.begin(), values.size()));
}

void CsvWriter::row(std::span<const double> values) {
    require(values.size() == columns_.size(), path_.string(), ": a row of ", values.size(),
            " numbers for ", columns_.size(), " columns");
    for (std::size_t i = 0; i < values.size(); ++i) {
        require(std::isfinite(values[i]), path_.string(), ": the number ", in_quotes(columns_[i]),
                " would be ", values[i], kNotWritten);
    }
    line_.clear();  // a member, so that a row takes no memory from the heap after the first ones
    for (double value : values) {
        if (!line_.empty()) line_ += ',';
        append_shortest(line_, value);
    }
    write_line(line_);
}

void CsvWriter::write_line(const std::string& line) {
    errno = 0;
    file_ << line << '\n' << std::flush;
    if (!file_) {
        fail(path_.string(), ": cannot write a row: ", std::generic_category().message(errno));
    }
}

void keep_csv_rows(const fs::path& path, int column_index, double max_value) {
    require(column_index >= 0, path.string(), ": column ", column_index, " does not exist");
    if (!fs::exists(path)) return;
    const std::vector<std::byte> file = read_file(path);
    std::string_view rest = as_text(file);
    std::string kept;
    const auto column = static_cast<std::size_t>(column_index);
    for (std::size_t line = 1; rest.find('\n') != std::string_view::npos; ++line) {
        const std::string_view text = rest.substr(0, rest.find('\n') + 1);
        rest.remove_prefix(text.size());
        const std::vector<std::string> fields = split(text.substr(0, text.size() - 1));
        require(column < fields.size(), place(path, line), ": ", fields.size(),
                " fields, but column ", column_index, " (from 0) is asked for");
        if (line == 1 || !(to_number(fields[column], place(path, line)) > max_value)) kept += text;
    }
    if (kept.size() != file.size()) write_file_atomically(path, std::as_bytes(std::span(kept)));
}

CsvTable read_csv(const fs::path& path) {
    const std::vector<std::byte> file = read_file(path);
    std::string_view rest = as_text(file);
    require(!rest.empty(), path.string(), ": empty, expected a line with the names of the columns");
    CsvTable table;
    for (std::size_t line = 1; !rest.empty(); ++line) {
        const std::string_view text = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(text.size() + 1, rest.size()));
        const std::vector<std::string> fields = split(text);
        if (line == 1) {
            table.columns = fields;
            continue;
        }
        require(fields.size() == table.columns.size(), place(path, line), ": ", fields.size(),
                " fields, but there are ", table.columns.size(), " columns");
        std::vector<double>& row = table.rows.emplace_back();
        for (const std::string& field : fields) row.push_back(to_number(field, place(path, line)));
    }
    return table;
}

}  // namespace diffusion
