#pragma once
// config.json: the settings of a model, as the libraries that write it have them.
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tensor/check.hpp"

namespace diffusion {

inline constexpr const char* kConfigFile = "config.json";

/// Of whole numbers, both ends included.
struct WholeRange {
    int least, most;
};

/// Settings by name. One that is not there has its default. Infinity and NaN, which Python writes
/// into its JSON, are read as texts. Every Error names the file and the setting; done() makes sure
/// that none was overlooked.
class Config {
public:
    /// Reads the file. Fails unless it is a JSON object.
    explicit Config(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    /// What the settings are of: _class_name, or the first of architectures.
    std::string class_name() const;
    bool has(const std::string& key) const;      ///< and it is not null
    bool is_null(const std::string& key) const;  ///< and it is there
    bool is_list(const std::string& key) const;

    /// A whole number in the range.
    int number(const std::string& key, WholeRange range) const;
    int number(const std::string& key, WholeRange range, int otherwise) const;
    double real(const std::string& key, double otherwise) const;
    bool flag(const std::string& key, bool otherwise) const;
    std::string text(const std::string& key, const std::string& otherwise) const;
    std::vector<int> numbers(const std::string& key, WholeRange range) const;
    std::vector<double> reals(const std::string& key) const;
    std::vector<std::string> texts(const std::string& key) const;
    /// Settings of their own, an object under a key. Asked for once; its own done() is the
    /// caller's.
    Config part(const std::string& key) const;

    /// A setting of which only some values are understood: fails, naming it, if it is there and has
    /// another one. Null is such a value, too.
    void only(const std::string& key, std::initializer_list<nlohmann::json> values) const;
    /// Settings that change nothing here.
    void pass_over(std::initializer_list<const char*> keys) const;
    /// Fails, naming it, if there is a setting that nobody asked for.
    void done() const;

    /// settings.check(), whose Error gets the file's name before it.
    template <class Settings>
    void check(const Settings& settings) const {
        try {
            settings.check();
        } catch (const Error& error) {
            fail(path_.string(), ": ", error.what());
        }
    }

    /// Fails: "config.json: KEY is VALUE, expected WHAT".
    [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

private:
    Config(std::filesystem::path path, std::string within, nlohmann::json content);
    bool is_there(const std::string& key) const;
    /// A null pointer if it is null or not there.
    const nlohmann::json* find(const std::string& key) const;
    const nlohmann::json& get(const std::string& key, const std::string& expected) const;

    std::filesystem::path path_;
    std::string within_;  ///< "text_config.": what stands before the keys in messages
    nlohmann::json content_;
    mutable std::set<std::string> asked_;
};

/// The weights in a model's folder, by the names that the libraries give them: NAME.safetensors,
/// its shards, or NAME.fp16.safetensors. Fails, saying what is there instead, if there are none.
std::filesystem::path find_weights(const std::filesystem::path& folder, const std::string& name);

}  // namespace diffusion
