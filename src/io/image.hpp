#pragma once
// Pictures: bytes for files and screens, made from tensors in [-1, 1].
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.hpp"

namespace diffusion {

/// Bytes [H,W,C], rows from the top; C = 1 (grey) or 3 (red, green, blue); 4 only of read_cutout.
struct Image {
    int height = 0, width = 0, channels = 0;
    std::vector<std::uint8_t> pixels;
};

/// Reads PNG, JPEG, BMP or PNM, the right way up: turned as the file's EXIF data say. 16-bit files
/// are reduced to 8 bits; transparent pixels are laid on white. Error, with the path, for anything
/// else, for a damaged file, and for a side of more than 16384 pixels.
Image read_image(const std::filesystem::path& path);

/// The same with its transparency: four channels, red, green, blue, and how much is covered, from 0
/// to 255.
Image read_cutout(const std::filesystem::path& path);

/// Writes 8-bit PNG, atomically.
void write_png(const std::filesystem::path& path, const Image& image);

/// Writes an animation that repeats for ever, atomically. All frames have one size and channel
/// count; 1 to 65535 centiseconds each (browsers slow down anything below 2). Frames that are grey
/// or have at most 256 colours are exact, others are rounded to the best 256 (palette.hpp).
void write_gif(const std::filesystem::path& path, std::span<const Image> frames,
               int delay_centiseconds);

/// [-1,1] -> 0..255: rounded to nearest, clamped; NaN becomes 0. It inverts b / 127.5 - 1 exactly.
std::uint8_t to_byte(float x);

/// Error if a number is not finite: it says which of the pictures [N,...] has it. `what` opens the
/// message: the file's name, or what is drawn.
void require_finite(Tensor<const float> pictures, const std::string& what);

/// x [H,W,C], every pixel drawn as zoom x zoom. Error if a number is not finite, as below.
Image to_image(Tensor<const float> x, int zoom = 1);

/// images [N,H,W,C] in reading order, `columns` to a row, with `gap` pixels of dark grey between
/// them and in cells left empty.
Image image_grid(Tensor<const float> images, int columns, int zoom = 1, int gap = 2);

/// Images of equal width and channel count, one under the other: the rows of a filmstrip.
Image stack_rows(std::span<const Image> rows, int gap = 2);

/// Error unless the sizes are positive, C is 1 or 3 and there are as many bytes as they ask for.
/// `where` opens the message.
void check_image(const Image& image, const std::string& where);

}  // namespace diffusion
