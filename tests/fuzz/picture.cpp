// What is said of a picture's file before its pixels are unpacked; EXIF data.
#include "fuzz/fuzz.hpp"
#include "fuzz/small_pictures.hpp"
#include "io/picture_file.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return small_pictures();
}

void check(const std::string& input) {
    accepted("where: ", [&] {
        const int orientation = look_at_picture(std::as_bytes(std::span(input)), "where");
        must(orientation >= 1 && orientation <= 8, "an orientation");
    });
}

}  // namespace diffusion::fuzz
