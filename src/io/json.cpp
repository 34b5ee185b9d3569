#include "io/json.hpp"

#include <cmath>
#include <set>
#include <span>
#include <vector>

#include "io/files.hpp"
#include "io/finite.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

using nlohmann::json;

constexpr int kDeepest = 64;
constexpr std::size_t kLongestQuote = 80, kLongestReason = 200;

/// `where` and the keys that lead to a number open the message.
void require_finite(const json& value, const std::string& where) {
    if (value.is_number_float())
        require(std::isfinite(value.get<double>()), where, " would be ", value.get<double>(),
                kNotWritten);
    if (!value.is_structured()) return;
    for (const auto& [key, each] : value.items()) require_finite(each, where + "/" + key);
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
    std::vector<std::set<std::string>> keys;  // of the objects that are open, outermost first
    const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
        require(depth <= kDeepest, where, ": JSON is nested more than ", kDeepest, " deep");
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        if (event == json::parse_event_t::object_end) keys.pop_back();
        if (event == json::parse_event_t::key) {
            const auto& key = parsed.get_ref<const std::string&>();
            require(keys.back().insert(key).second, where, ": key ", in_quotes(key),
                    " occurs twice in one object");
        }
        return true;
    };
    try {
        return json::parse(text, check);
    } catch (const json::exception& error) {
        fail(where, ": not valid JSON: ", std::string_view(error.what()).substr(0, kLongestReason));
    }
}

json read_json(const std::filesystem::path& path) {
    return parse_json(as_text(read_file(path)), path.string());
}

void write_json(const std::filesystem::path& path, const json& value) {
    require_finite(value, path.string() + ": the number ");
    std::string text;
    try {
        text = value.dump(2) + "\n";
    } catch (const json::exception& error) {  // a string that is not UTF-8
        fail(path.string(),
             ": cannot write as JSON: ", std::string_view(error.what()).substr(0, kLongestReason));
    }
    write_file_atomically(path, std::as_bytes(std::span(text)));
}

std::string in_quotes(std::string_view text) {
    const bool cut = text.size() > kLongestQuote;
    const json start = std::string(text.substr(0, kLongestQuote)) + (cut ? ".." : "");
    return start.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace diffusion
