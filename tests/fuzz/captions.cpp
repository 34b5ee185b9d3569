// captions.csv of a folder with two pictures, and the text beside one.
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

/// The input as the text beside a picture.
void check_text(const std::string& input) {
    const auto place = folder() / "texts";
    std::filesystem::create_directories(place);
    const std::vector<std::filesystem::path> picture = {place / "a.png"};
    put_text(picture[0], "");
    put_text(place / "a.txt", input);
    std::vector<std::string> captions;
    if (accepted((place / "a.txt").string(), [&] { captions = read_captions(place, picture); }))
        must(captions.size() <= 1, "at most one caption");
}

void check(const std::string& input) {
    check_text(input);
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
