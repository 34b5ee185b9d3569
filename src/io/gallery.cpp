#include "io/gallery.hpp"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "io/files.hpp"
#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kPageStart = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>From Noise to Art</title>
<style>
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fbfaf8; --soft: #6b6b70; --line: #dddad4; --link: #0b57b0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e3; --paper: #17181a; --soft: #a0a0a6; --line: #36383c; --link: #8ab8f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; color: var(--ink); background: var(--paper);
       font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: var(--link); }
nav ul { padding-left: 1.2rem; columns: 18rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
.soft, figcaption, summary { color: var(--soft); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
figcaption { max-width: 34rem; font-size: .9rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: normal; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
</style>
</head>
<body>
<h1>From Noise to Art</h1>
)";

std::string escape(const std::string& text) {
    std::string html;
    for (char c : text) {
        switch (c) {
            case '&':
                html += "&amp;";
                break;
            case '<':
                html += "&lt;";
                break;
            case '>':
                html += "&gt;";
                break;
            case '"':
                html += "&quot;";
                break;
            default:
                html += c;
        }
    }
    return html;
}

/// A relative path as a link: everything but letters, digits and a few marks as %XX.
std::string link_to(const fs::path& path) {
    std::string link;
    for (char c : path.generic_string()) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) || std::string_view("-_.~/").find(c) != std::string_view::npos) {
            link += c;
        } else {
            char code[4];
            std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(byte));
            link += code;
        }
    }
    return link;
}

/// Five digits are enough to look at; JSON has no NaN or infinity and holds null in their place.
std::string show_number(const json& value) {
    if (!value.is_number()) return "not a number";
    char text[40];
    const double x = value;
    const bool whole = x == static_cast<double>(static_cast<long long>(std::clamp(x, -1e15, 1e15)));
    std::snprintf(text, sizeof text, whole ? "%.0f" : "%.5g", x);
    return text;
}

std::string show_setting(const json& value) {
    return escape(value.is_string() ? value.get<std::string>() : value.dump());
}

struct Run {
    fs::path folder;  // its name below the root
    json content;     // of its run.json
};

/// The names of the folders that hold a run.json, in order.
std::set<fs::path> find_runs(const fs::path& root) {
    std::set<fs::path> folders;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(root, error)) {
        if (fs::is_regular_file(entry.path() / "run.json")) folders.insert(entry.path().filename());
    }
    if (error) fail(root.string(), ": cannot list the folder: ", error.message());
    require(!folders.empty(), root.string(), ": no finished run here; run a chapter first");
    return folders;
}

std::string pictures(const Run& run, const fs::path& root) {
    std::string html = "<div class=\"pictures\">\n";
    for (const json& picture : run.content.at("pictures")) {
        const std::string file = picture.at("file"), caption = escape(picture.at("caption"));
        html += "<figure>";
        std::error_code ignored;  // a name that cannot be a file's
        if (fs::exists(root / run.folder / file, ignored)) {
            const std::string link = link_to(run.folder / file);
            html += "<a href=\"" + link + "\"><img loading=\"lazy\" src=\"" + link + "\" alt=\"" +
                    caption + "\"></a>";
        } else {
            html += "<p class=\"soft\">(" + escape(file) + " is missing)</p>";
        }
        html += "<figcaption>" + caption + "</figcaption></figure>\n";
    }
    return html + "</div>\n";
}

std::string numbers(const Run& run) {
    if (run.content.at("numbers").empty()) return "";
    std::string html = "<div class=\"table\"><table>\n";
    for (const json& number : run.content.at("numbers")) {
        html += "<tr><th>" + escape(number.at("name")) + "</th><td class=\"number\">" +
                show_number(number.at("value")) + "</td><td class=\"soft\">" +
                escape(number.at("note")) + "</td></tr>\n";
    }
    return html + "</table></div>\n";
}

std::string settings(const Run& run) {
    if (run.content.at("settings").empty()) return "";
    std::string html = "<details><summary>Settings</summary><div class=\"table\"><table>\n";
    for (const auto& [name, value] : run.content.at("settings").items()) {
        html += "<tr><th>" + escape(name) + "</th><td>" + show_setting(value) + "</td></tr>\n";
    }
    return html + "</table></div></details>\n";
}

std::string section(const Run& run, const fs::path& root) {
    const std::string name = run.folder.string();
    return "<section id=\"" + escape(name) + "\">\n<h2>" + escape(run.content.at("title")) +
           "</h2>\n<p class=\"soft\">" + escape(run.content.at("chapter")) + ", " +
           show_number(run.content.at("seconds")) + " seconds, files in <a href=\"" +
           link_to(run.folder) + "/\">" + escape(name) + "</a></p>\n" + pictures(run, root) +
           numbers(run) + settings(run) + "</section>\n";
}

}  // namespace

void write_gallery(const fs::path& out_root) {
    std::string links = "<nav><ul>\n", sections;
    for (const fs::path& folder : find_runs(out_root)) {
        const fs::path file = out_root / folder / "run.json";
        const Run run{folder, read_json(file)};
        try {
            links += "<li><a href=\"#" + link_to(folder) + "\">" + escape(run.content.at("title")) +
                     "</a></li>\n";
            sections += section(run, out_root);
        } catch (const json::exception& error) {  // a key is missing or of another type
            fail(file.string(), ": not a run of this program: ", error.what());
        }
    }
    const std::string page = kPageStart + links + "</ul></nav>\n" + sections + "</body>\n</html>\n";
    write_file_atomically(out_root / "index.html", std::as_bytes(std::span(page)));
}

}  // namespace diffusion
