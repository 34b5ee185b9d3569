// A run.json, for the page that shows it and for the program that goes on with it.
#include "io/gallery.hpp"

#include "fuzz/fuzz.hpp"
#include "io/json.hpp"
#include "io/run_folder.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {
        R"({"chapter":"04_unet","title":"T","seconds":1.5,"settings":{"n":4,"s":"<b>"},)"
        R"("numbers":[{"name":"loss","value":0.5,"note":"at the end"}],"pictures":[{"file":"a.png","caption":"A & B"}]})",
        R"({"chapter":"x","title":"y","seconds":null,"settings":{},"numbers":[],"pictures":[]})",
        R"({"chapter":"04_unet","title":"","seconds":0,"settings":{"<":[1,{"a":2}]},)"
        R"("numbers":[{"name":"n","value":null,"note":""}],"pictures":[{"file":"run.json","caption":"<script>"}]})",
        "{}"};
}

void check(const std::string& input) {
    const auto run = folder() / "04_unet", file = run / "run.json";
    std::filesystem::create_directories(run);
    put_text(file, input);
    if (accepted(file.string(), [&] { write_gallery(folder().path()); })) {
        const std::string page = get_text(folder() / "index.html");
        must(page.find("<script") == std::string::npos, "no script from a run");
        must(page.ends_with("</html>\n"), "a whole page");
    }
    if (!accepted(file.string(), [&] { read_json(file); }))
        return;  // for a new run nothing is there
    std::optional<RunFolder> next;
    if (!accepted(run.string(), [&] { next.emplace(run, "04_unet", "Title"); }))
        return;  // another chapter's
    next->keep_earlier();
    next->number("loss", 0.25, "later");
    next->picture("a.png", "caption");
    next->setting("n", 5);
    next->finish(1);
    must(read_json(file).at("settings").at("n") == 5, "the run is written");
}

}  // namespace diffusion::fuzz
