#include "io/run_folder.hpp"

#include <cmath>
#include <system_error>
#include <utility>

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

}  // namespace

RunFolder::RunFolder(std::filesystem::path dir, std::string chapter, std::string title)
    : dir_(std::move(dir)) {
    std::error_code error;
    std::filesystem::create_directories(dir_, error);
    if (error) {
        fail(dir_.string(), ": cannot create the output folder: ", error.message(),
             "; choose another with --out");
    }
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

void RunFolder::keep_earlier() {
    if (!std::filesystem::exists(path("run.json"))) return;
    try {
        nlohmann::json earlier = read_json(path("run.json"));
        const bool same = earlier.at("chapter") == run_["chapter"];
        for (const auto& [key, value] : run_.items()) {
            if (!same || std::string_view(earlier.at(key).type_name()) != value.type_name()) return;
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
