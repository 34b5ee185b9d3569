// IDX, plain and gzip.
#include "data/idx.hpp"

#include <zlib.h>

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

std::string gzip(std::string text) {
    z_stream z{};
    must(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib starts");
    std::string packed(text.size() + 100, '\0');
    z.next_in = reinterpret_cast<Bytef*>(text.data());
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(packed.data());
    z.avail_out = static_cast<uInt>(packed.size());
    must(deflate(&z, Z_FINISH) == Z_STREAM_END, "zlib ends");
    packed.resize(z.total_out);
    deflateEnd(&z);
    return packed;
}

}  // namespace

std::vector<std::string> seeds() {
    using namespace std::string_literals;
    const std::string images = "\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\3abcdefghijkl"s,
                      colours = "\0\0\x08\x04\0\0\0\1\0\0\0\2\0\0\0\2\0\0\0\3abcdefghijkl"s,
                      labels = "\0\0\x08\x01\0\0\0\5\7\2\1\0\4"s;
    return {images,
            colours,
            labels,
            gzip(images),
            gzip(labels),
            gzip(images.substr(0, 10)) + gzip(images.substr(10)),
            "\0\0\x08\x03\x7f\xff\xff\xff\0\0\0\1\0\0\0\1"s};
}

void check(const std::string& input) {
    const auto path = folder() / "x", again = folder() / "y";
    put_text(path, input);
    const bool packed = input.starts_with("\x1f\x8b");
    IdxArray images;
    if (accepted(path.string(), [&] { images = read_idx_images(path); })) {
        write_idx(again, images.shape, images.bytes);
        must(packed || get_text(again) == input, "written as it was");
        const IdxArray back = read_idx_images(again);
        must(back.shape == images.shape && back.bytes == images.bytes, "written and read again");
    }
    std::vector<std::uint8_t> labels;
    if (accepted(path.string(), [&] { labels = read_idx_labels(path); })) {
        write_idx(again, std::vector{static_cast<int>(labels.size())}, labels);
        must(packed || get_text(again) == input, "written as it was");
        must(read_idx_labels(again) == labels, "written and read again");
    }
}

}  // namespace diffusion::fuzz
