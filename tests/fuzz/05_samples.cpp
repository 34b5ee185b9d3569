// Pictures that are to be scored, in any of the forms that are taken.
#include "05_measuring/given_pictures.hpp"
#include "fuzz/fuzz.hpp"
#include "io/npy.hpp"
#include "support/zip_file.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    using namespace std::string_literals;
    std::vector<std::string> all{"\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\3abcdefghijkl"s,
                                 "\0\0\x08\x04\0\0\0\1\0\0\0\2\0\0\0\2\0\0\0\3aaabbbcccddd"s};
    for (const float most : {1.0f, 255.0f}) {
        for (const float least : {-1.0f, 0.0f}) {
            const auto path = folder() / "made.npy";
            const std::vector<float> x{least, most, 0.5f, 1};
            write_npy(path, {x.data(), {1, 2, 2, 1}});
            all.push_back(get_text(path));
            all.push_back(zip_of({{"arr_0.npy", all.back()}}, true));
        }
    }
    return all;
}

void check(const std::string& input) {
    const auto path = folder() / "samples";
    put_text(path, input);
    Dataset data;
    if (!accepted(path.string(), [&] { data = read_pictures(path); })) return;
    for (int round = 0; round < 2; ++round) {
        must(data.count > 0 && data.height > 0 && data.width > 0 && data.channels > 0, "pictures");
        must(data.pixels.size() == static_cast<std::size_t>(data.count) * data.image_size(),
             "as many pixels as the sizes say");
        drop_equal_channels(data);
    }
}

}  // namespace diffusion::fuzz
