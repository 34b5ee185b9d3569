#include "io/run_folder.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "io/files.hpp"
#include "io/finite.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

/// Replaces the entry of `list` that has the same `key`, or adds one.
void put(nlohmann::json& list, const char* key, nlohmann::json entry) {
    for (nlohmann::json& old : list) {
        if (old[key] == entry[key]) {
            old = std::move(entry);
            return;
        }
    }
    list.push_back(std::move(entry));
}

/// What an earlier run has left in run.json: null where nothing can be read.
nlohmann::json earlier_run(const std::filesystem::path& path) {
    if (!std::filesystem::exists(path)) return {};
    try {
        nlohmann::json earlier = read_json(path);
        const bool told = earlier.is_object() && earlier.contains("chapter");
        return told && earlier["chapter"].is_string() ? earlier : nlohmann::json();
    } catch (const std::exception&) {
        return {};
    }
}

/// The pictures and tables of a folder.
std::vector<std::string> results_in(const std::filesystem::path& dir) {
    constexpr std::array kKinds = {".png", ".gif", ".csv", ".json", ".idx", ".npy"};
    std::vector<std::string> names;
    for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(dir)) {
        const std::filesystem::path name = entry.path().filename();
        if (std::ranges::find(kKinds, name.extension()) != kKinds.end())
            names.push_back(name.string());
    }
    return names;
}

}  // namespace

RunFolder::RunFolder(std::filesystem::path dir, std::string chapter, std::string title)
    : dir_(std::move(dir)) {
    std::error_code error;
    std::filesystem::create_directories(dir_, error);
    if (error) {
        fail(dir_.string(), ": cannot create the output folder: ", error.message(),
             "; choose another with --out");
    }
    lock_.emplace(dir_);
    const nlohmann::json earlier = earlier_run(path("run.json"));
    require(earlier.is_null() || earlier["chapter"] == chapter, dir_.string(), ": holds a run of ",
            earlier.is_null() ? "" : in_quotes(earlier["chapter"].get<std::string>()),
            "; choose another folder with --out");
    put_back(dir_);
    const std::filesystem::path probe = path(".can-write.tmp");
    write_file_atomically(probe, {});
    std::filesystem::remove(probe, error);
    remove_leftovers(dir_);
    run_ = {{"chapter", std::move(chapter)},
            {"title", std::move(title)},
            {"seconds", 0.0},
            {"settings", nlohmann::json::object()},
            {"numbers", nlohmann::json::array()},
            {"pictures", nlohmann::json::array()}};
}

void RunFolder::begin() {
    const nlohmann::json earlier = earlier_run(path("run.json"));
    if (!earlier.is_null() && earlier.value("settings", nlohmann::json()) != run_["settings"]) {
        const std::filesystem::path aside = set_aside(dir_, results_in(dir_));
        std::printf("the earlier run here, with other settings, is kept in %s\n", aside.c_str());
    }
    write_json(path("run.json"), run_);  // so that one that is cut short can be told, too
}

void RunFolder::keep_earlier() {
    nlohmann::json earlier = earlier_run(path("run.json"));
    if (earlier.is_null()) return;
    try {
        for (const auto& [key, value] : run_.items()) {
            if (std::string_view(earlier.at(key).type_name()) != value.type_name()) return;
        }
        for (const auto& [list, key] : {std::pair("numbers", "name"), {"pictures", "file"}}) {
            for (const nlohmann::json& entry : earlier[list]) {
                if (!entry.is_object() || !entry.contains(key)) return;
            }
        }
        run_ = std::move(earlier);
    } catch (const std::exception&) {  // unreadable: a new one takes its place
    }
}

std::filesystem::path RunFolder::path(std::string_view file) const {
    return dir_ / file;
}

void RunFolder::picture(const std::string& file, const std::string& caption) {
    put(run_["pictures"], "file", {{"file", file}, {"caption", caption}});
}

void RunFolder::number(const std::string& name, double value, const std::string& note) {
    require(std::isfinite(value), path("run.json").string(), ": the number '", name, "' would be ",
            value, kNotWritten);
    put(run_["numbers"], "name", {{"name", name}, {"value", value}, {"note", note}});
}

void RunFolder::setting(const std::string& name, nlohmann::json value) {
    run_["settings"][name] = std::move(value);
}

void RunFolder::finish(double seconds) {
    run_["seconds"] = run_.value("seconds", 0.0) + seconds;
    write_json(path("run.json"), run_);
}

}  // namespace diffusion
