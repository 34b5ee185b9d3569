// Animated GIF, written by hand: the format fits two pages (CompuServe, GIF89a, 1990) and its
// compression is worth reading, while the packaged encoders come inside large image libraries.
#include <string>
#include <unordered_map>

#include "io/files.hpp"
#include "io/image.hpp"
#include "io/palette.hpp"

namespace diffusion {
namespace {

namespace fs = std::filesystem;

/// Packs codes of 9 to 12 bits, lowest bit first, into blocks of at most 255 bytes.
class CodeStream {
public:
    explicit CodeStream(std::string& file) : file_(file) {}

    void write(unsigned code, int width) {
        bits_ |= code << filled_;
        for (filled_ += width; filled_ >= 8; filled_ -= 8) {
            put(bits_ & 255u);
            bits_ >>= 8u;
        }
    }
    void finish() {
        if (filled_ > 0) put(bits_);
        flush_block();
        file_ += '\0';  // a block of no bytes ends the image
    }

private:
    void put(unsigned byte) {
        block_ += static_cast<char>(byte);
        if (block_.size() == 255) flush_block();
    }
    void flush_block() {
        if (block_.empty()) return;
        file_ += static_cast<char>(block_.size());
        file_ += block_;
        block_.clear();
    }

    std::string& file_;
    std::string block_;
    unsigned bits_ = 0;
    int filled_ = 0;
};

constexpr unsigned kClear = 256, kEnd = 257, kFirstFree = 258, kLastCode = 4095;

/// Lempel, Ziv and Welch: a table of the strings seen so far, which grows by one string with every
/// code. A code stands for the longest known string; that string and the byte after it are the new
/// entry. The decoder builds the same table.
void compress(const std::vector<std::uint8_t>& indices, std::string& file) {
    CodeStream out(file);
    // longer[code * 256 + byte]: the code of that string with the byte behind it, if it has one
    std::unordered_map<unsigned, unsigned> longer;
    longer.reserve(kLastCode);
    unsigned next = kFirstFree;
    int width = 9;
    const auto emit = [&](unsigned code) {
        out.write(code, width);
        // The decoder learns an entry one code later, so the first code that may be new to it is
        // longer.
        if (next == (1u << width)) ++width;
        ++next;
    };

    out.write(kClear, width);
    unsigned current = indices[0];
    for (std::size_t i = 1; i < indices.size(); ++i) {
        const auto [child, is_new] = longer.try_emplace(current * 256 + indices[i], next);
        if (!is_new) {
            current = child->second;
            continue;
        }
        emit(current);
        current = indices[i];
        if (next > kLastCode) {
            out.write(kClear, width);
            longer.clear();
            next = kFirstFree;
            width = 9;
        }
    }
    emit(current);
    out.write(kEnd, width);
    out.finish();
}

void append_u16(std::string& file, int value) {
    file += static_cast<char>(value % 256);
    file += static_cast<char>(value / 256);
}

/// 256 colours; those that are not in use are black. Each frame has its own: of one palette for
/// all, the noise of the first frames would take most, and the picture that comes out at the end
/// would show bands.
void append_palette(std::string& file, const IndexedImage& indexed) {
    file += '\x87';  // a palette follows, with 2^(7+1) colours
    for (const auto& colour : indexed.palette) {
        for (std::uint8_t channel : colour) file += static_cast<char>(channel);
    }
    file.append(3 * (kMaxColours - indexed.palette.size()), '\0');
}

}  // namespace

void write_gif(const fs::path& path, std::span<const Image> frames, int delay_centiseconds) {
    require(!frames.empty(), path.string(), ": an animation needs at least one frame");
    require(delay_centiseconds >= 1 && delay_centiseconds <= 65535, path.string(),
            ": the delay must be from 1 to 65535 centiseconds, got ", delay_centiseconds);
    const Image& first = frames[0];
    for (const Image& frame : frames) {
        check_image(frame, path.string());
        require(frame.height == first.height && frame.width == first.width &&
                    frame.channels == first.channels,
                path.string(), ": the frames of an animation must have one size");
    }
    require(first.height <= 65535 && first.width <= 65535, path.string(),
            ": a GIF has at most 65535 pixels to a side");

    std::string file = "GIF89a";
    append_u16(file, first.width);
    append_u16(file, first.height);
    file += {'\x70', '\0', '\0'};  // 8 bits per colour, no palette for all frames
    file += std::string("\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0", 19);  // repeat for ever
    for (const Image& frame : frames) {
        const IndexedImage indexed = quantise(frame);
        file += {'\x21', '\xF9', '\x04', '\x04'};  // leave the frame in place when the next comes
        append_u16(file, delay_centiseconds);
        file += {'\0', '\0', '\x2C', '\0', '\0', '\0', '\0'};  // an image at (0, 0)
        append_u16(file, first.width);
        append_u16(file, first.height);
        append_palette(file, indexed);
        file += '\x08';  // codes start from eight bits
        compress(indexed.indices, file);
    }
    file += '\x3B';
    write_file_atomically(path, std::as_bytes(std::span(file)));
}

}  // namespace diffusion
