#pragma once
// What can be said of a picture's file before its pixels are unpacked: whether it is whole, and
// which way up it is.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace diffusion {

/// How the pixels are to be turned, as EXIF counts it: 1, as they lie, to 8. Cameras leave the
/// sensor's order in the file and write the orientation beside it.
/// Fails, in plain words, on a file that is empty, of a kind that is not read here, cut short, or
/// damaged where that can be seen, and on one that cannot hold the pixels that it promises:
/// stb_image shows half a JPEG, shows what lay in memory where a BMP or PNM ends, does not look at
/// a PNG's checksums, and takes memory for any picture of up to 16384 x 16384. `where` opens the
/// message.
int look_at_picture(std::span<const std::byte> file, const std::string& where);

/// What a file is by its beginning, with its article: "a GIF", "a web page", "a text"; empty: not
/// known.
std::string kind_of_file(std::string_view beginning);

}  // namespace diffusion
