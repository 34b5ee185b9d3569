// captions.csv of a folder with two pictures.
#include "data/captions.hpp"

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {"file,caption\na.png,a red seven\nb.png,\"two, with \"\"quotes\"\"\"\n",
            "\xEF\xBB\xBFkeywords,caption,file\r\nx,one,a.png\r\n,\"two\r\nlines\",b.png\r\n",
            "file,caption\na.png,x\nb.png,\n",
            "file,caption\na.png,\"x\ny\"z,\n",
            ",\n\"",
            "file,caption\n../a.png,x"};
}

void check(const std::string& input) {
    const std::vector<std::filesystem::path> pictures = {folder() / "a.png", folder() / "b.png"};
    for (const auto& picture : pictures)
        if (!std::filesystem::exists(picture)) put_text(picture, "");
    const auto table = folder() / "captions.csv";
    put_text(table, input);
    std::vector<std::string> captions;
    if (!accepted(table.string(), [&] { captions = read_captions(folder().path(), pictures); }))
        return;
    must(captions.size() == pictures.size(), "a caption for each picture");
    std::string again = "file,caption\n";
    for (std::size_t i = 0; i < captions.size(); ++i)
        again += as_field(pictures[i].filename().string()) + "," + as_field(captions[i]) + "\n";
    put_text(table, again);
    must(read_captions(folder().path(), pictures) == captions, "written and read again");
}

}  // namespace diffusion::fuzz
