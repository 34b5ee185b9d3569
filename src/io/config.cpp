#include "io/config.hpp"

#include <algorithm>
#include <utility>

#include "io/files.hpp"
#include "io/json.hpp"
#include "io/safetensors_header.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_number(const json& value, WholeRange range) {
    return value.is_number_integer() && value >= range.least && value <= range.most;
}

/// Whether it is a list, not empty, whose entries all pass.
template <class Test>
bool is_list_of(const json& value, Test test) {
    return value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), test);
}

/// A value as it may stand in a message.
std::string short_of(const json& value) {
    const std::string text = value.dump();
    return text.size() <= 80 ? text : text.substr(0, 80) + "..";
}

/// Numbers that JSON does not have, but Python writes, in quotes.
std::string with_quoted_infinities(std::string_view text) {
    std::string quoted;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (in_string && text[i] == '\\') {
            quoted += text.substr(i++, 2);
            continue;
        }
        if (text[i] == '"') in_string = !in_string;
        std::string_view found;
        for (const std::string_view word : {"Infinity", "-Infinity", "NaN"})
            if (!in_string && text.substr(i).starts_with(word)) found = word;
        quoted += found.empty() ? std::string(1, text[i]) : '"' + std::string(found) + '"';
        if (!found.empty()) i += found.size() - 1;
    }
    return quoted;
}

std::string told(WholeRange range) {
    return "a whole number from " + std::to_string(range.least) + " to " +
           std::to_string(range.most);
}

}  // namespace

Config::Config(const fs::path& path) : path_(path) {
    const std::vector<std::byte> bytes = read_file(path);
    refuse_known_strangers(as_text(bytes).substr(0, 64), path);
    content_ = parse_json(with_quoted_infinities(as_text(bytes)), path.string());
    require(content_.is_object(), path.string(), ": expected an object of settings");
}

Config::Config(fs::path path, std::string within, json content)
    : path_(std::move(path)), within_(std::move(within)), content_(std::move(content)) {}

Config Config::part(const std::string& key) const {
    const json& value = get(key, "an object of settings");
    if (!value.is_object()) refuse(key, "an object of settings");
    return {path_, within_ + key + ".", value};
}

const json* Config::find(const std::string& key) const {
    asked_.insert(key);
    const auto found = content_.find(key);
    return found == content_.end() || found->is_null() ? nullptr : &*found;
}

const json& Config::get(const std::string& key, const std::string& expected) const {
    const json* value = find(key);
    if (value == nullptr) refuse(key, expected);
    return *value;
}

void Config::refuse(const std::string& key, const std::string& expected) const {
    const auto found = content_.find(key);
    fail(path_.string(), ": ", within_, key, " is ",
         found == content_.end() ? "not there" : short_of(*found), ", expected ", expected);
}

bool Config::has(const std::string& key) const {
    return find(key) != nullptr;
}

bool Config::is_there(const std::string& key) const {
    asked_.insert(key);
    return content_.contains(key);
}

bool Config::is_null(const std::string& key) const {
    return is_there(key) && content_[key].is_null();
}

bool Config::is_list(const std::string& key) const {
    return has(key) && find(key)->is_array();
}

std::string Config::class_name() const {
    if (has("_class_name")) return text("_class_name", "");
    return texts("architectures").front();
}

int Config::number(const std::string& key, WholeRange range) const {
    if (!is_number(get(key, told(range)), range)) refuse(key, told(range));
    return find(key)->get<int>();
}

int Config::number(const std::string& key, WholeRange range, int otherwise) const {
    return is_there(key) ? number(key, range) : otherwise;
}

double Config::real(const std::string& key, double otherwise) const {
    if (!is_there(key)) return otherwise;
    const json* value = find(key);
    if (value == nullptr || !value->is_number()) refuse(key, "a number");
    return value->get<double>();
}

bool Config::flag(const std::string& key, bool otherwise) const {
    if (!is_there(key)) return otherwise;
    const json* value = find(key);
    if (value == nullptr || !value->is_boolean()) refuse(key, "true or false");
    return value->get<bool>();
}

std::string Config::text(const std::string& key, const std::string& otherwise) const {
    if (!is_there(key)) return otherwise;
    const json* value = find(key);
    if (value == nullptr || !value->is_string()) refuse(key, "a name");
    return value->get<std::string>();
}

std::vector<int> Config::numbers(const std::string& key, WholeRange range) const {
    const json& value = get(key, "a list of numbers");
    if (!is_list_of(value, [&](const json& v) { return is_number(v, range); }))
        refuse(key, "a list, each " + told(range));
    return value.get<std::vector<int>>();
}

std::vector<double> Config::reals(const std::string& key) const {
    const json& value = get(key, "a list of numbers");
    if (!is_list_of(value, [](const json& v) { return v.is_number(); }))
        refuse(key, "a list of numbers");
    return value.get<std::vector<double>>();
}

std::vector<std::string> Config::texts(const std::string& key) const {
    const json& value = get(key, "a list of names");
    if (!is_list_of(value, [](const json& v) { return v.is_string(); }))
        refuse(key, "a list of names");
    return value.get<std::vector<std::string>>();
}

void Config::only(const std::string& key, std::initializer_list<json> values) const {
    asked_.insert(key);
    const auto found = content_.find(key);
    if (found == content_.end() || std::find(values.begin(), values.end(), *found) != values.end())
        return;
    std::string expected;
    for (const json& each : values) expected += (expected.empty() ? "" : " or ") + each.dump();
    refuse(key, expected + "; others are not understood here");
}

void Config::pass_over(std::initializer_list<const char*> keys) const {
    for (const char* key : keys) asked_.insert(key);
}

void Config::done() const {
    for (const auto& [key, value] : content_.items()) {
        require(asked_.contains(key) || key.starts_with("_"), path_.string(), ": the setting ",
                in_quotes(within_ + key), " = ", short_of(value), " is not understood here");
    }
}

fs::path find_weights(const fs::path& folder, const std::string& name) {
    std::error_code ignored;  // what cannot be asked for is not there
    for (const char* ending :
         {".safetensors", ".safetensors.index.json", ".fp16.safetensors",
          ".safetensors.index.fp16.json", ".bin"}) {  // the last is a pickle, which opening it says
        const fs::path path = folder / (name + ending);
        if (fs::exists(path, ignored)) return path;
    }
    std::vector<std::string> there;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
        there.push_back(entry.path().filename().string());
    std::ranges::sort(there);
    constexpr std::size_t kNamed = 8;
    std::string all = there.empty() ? "nothing" : "";
    for (std::size_t i = 0; i < std::min(there.size(), kNamed); ++i)
        all += (all.empty() ? "" : ", ") + in_quotes(there[i]);
    if (there.size() > kNamed) all += ", ..";
    fail(folder.string(), ": there is no ", name, ".safetensors; the folder holds ", all);
}

}  // namespace diffusion
