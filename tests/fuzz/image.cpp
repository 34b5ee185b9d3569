// A picture with its pixels, which stb_image unpacks.
#include "io/image.hpp"

#include "fuzz/fuzz.hpp"
#include "fuzz/small_pictures.hpp"
#include "io/fit_picture.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return small_pictures();
}

void check(const std::string& input) {
    constexpr std::size_t kMost = 1000;  // or pictures of millions of pixels take the time
    if (input.size() > kMost) return;
    const auto path = folder() / "x.png", again = folder() / "y.png";
    put_text(path, input);
    Image image;
    if (!accepted(path.string(), [&] { image = read_image(path); })) return;
    check_image(image, "what was read");
    write_png(again, image);
    const Image back = read_image(again);
    must(back.height == image.height && back.width == image.width &&
             back.channels == image.channels && back.pixels == image.pixels,
         "written and read again");
    std::vector<float> fitted(3 * 4);
    fit_picture(image, false, {fitted.data(), {3, 4, 1}});
    for (const float x : fitted) must(x >= -1 && x <= 1, "brightness from -1 to 1");
}

}  // namespace diffusion::fuzz
