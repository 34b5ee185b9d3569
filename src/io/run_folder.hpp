#pragma once
// The folder of one run: pictures and tables, and run.json, which says what they are and how they
// were made.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "io/set_aside.hpp"

namespace diffusion {

/// run.json holds {"chapter", "title", "seconds", "settings": {name: value}, "numbers": [{"name",
/// "value", "note"}], "pictures": [{"file", "caption"}]}; the gallery is made from it. A number or
/// picture given twice under one name keeps its place and takes the later content.
class RunFolder {
public:
    /// Creates the folder. Error if that fails, if files cannot be written into it, if it holds a
    /// run of another chapter or if another program is at work there: better now than after an
    /// hour of training. A set_aside that was cut short is undone.
    RunFolder(std::filesystem::path dir, std::string chapter, std::string title);

    /// For a run that begins anew, once its settings are told and before it writes anything. Where
    /// the folder holds a run with other settings, that one's pictures and tables move into
    /// earlier_N, and a line says so. One with the same settings is written again: the same bits.
    void begin();

    /// Goes on with what an earlier run of the same chapter left in the folder's run.json, if it
    /// can be read: for a job that adds to it, such as drawing with a model that was trained there.
    void keep_earlier();

    const std::filesystem::path& dir() const { return dir_; }
    /// Where to write `file`, which is relative to the folder.
    std::filesystem::path path(std::string_view file) const;

    void picture(const std::string& file, const std::string& caption);
    void number(const std::string& name, double value, const std::string& note = "");
    void setting(const std::string& name, nlohmann::json value);

    /// Writes run.json atomically; `seconds` is what the run took. Called again after another job
    /// of the same run, it adds its seconds.
    void finish(double seconds);

private:
    std::filesystem::path dir_;
    std::optional<FolderLock> lock_;  ///< as long as this lives
    nlohmann::json run_;
};

}  // namespace diffusion
