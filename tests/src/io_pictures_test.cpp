// Pictures: bytes, grids and PNG.
#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <limits>

#include "io/fit_picture.hpp"
#include "io/image.hpp"
#include "io/picture_file.hpp"
#include "support/exif.hpp"
#include "support/file_checks.hpp"
#include "support/noise_image.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;

TEST_SUITE_BEGIN("src io");

TEST_CASE("[-1,1] becomes 0..255: rounded, clamped, and exact for every byte") {
    for (int b = 0; b < 256; ++b) CHECK(to_byte(static_cast<float>(b) / 127.5f - 1.0f) == b);
    CHECK(to_byte(-1.5f) == 0);
    CHECK(to_byte(7.0f) == 255);
    CHECK(to_byte(0.0f) == 128);
    CHECK(to_byte(std::numeric_limits<float>::infinity()) == 255);
    CHECK(to_byte(std::numeric_limits<float>::quiet_NaN()) == 0);
}

TEST_CASE("PNG: a picture reads back exactly") {
    const TemporaryFolder folder;
    for (int channels : {1, 3}) {
        for (int side : {1, 2, 33}) {
            const Image image = noise(side, 2 * side + 1, channels, 256);
            write_png(folder / "x.png", image);
            const Image back = read_image(folder / "x.png");
            CHECK(back.height == image.height);
            CHECK(back.width == image.width);
            CHECK(back.channels == channels);
            CHECK(back.pixels == image.pixels);
        }
    }
}

TEST_CASE("PNG: transparent pixels are laid on white") {
    const TemporaryFolder folder;
    const unsigned char file[] = {// opaque red, nothing, (10, 20, 30) half transparent
                                  0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00,
                                  0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
                                  0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1b, 0xe0, 0x14, 0xb4,
                                  0x00, 0x00, 0x00, 0x13, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63,
                                  0xf8, 0xcf, 0xc0, 0x00, 0x44, 0x0c, 0x0c, 0x5c, 0x22, 0x72, 0x0d,
                                  0x00, 0x16, 0x18, 0x02, 0xbb, 0xd3, 0x1c, 0x2d, 0xbf, 0x00, 0x00,
                                  0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
    put_text(folder / "a.png", {reinterpret_cast<const char*>(file), sizeof file});
    CHECK(read_image(folder / "a.png").pixels ==
          std::vector<std::uint8_t>{255, 0, 0, 255, 255, 255, 132, 137, 142});
}

TEST_CASE("a file that is no picture, or half of one, is an error") {
    const TemporaryFolder folder;
    write_png(folder / "x.png", noise(20, 20, 3, 256));
    const std::string whole = get_text(folder / "x.png");
    const auto message = [&](std::string_view text) {
        put_text(folder / "bad.png", text);
        return error_of([&] { read_image(folder / "bad.png"); });
    };
    for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{30}, whole.size() / 2}) {
        CHECK(contains(message(std::string_view(whole).substr(0, size)), "bad.png: not a picture"));
    }
    CHECK(contains(message(std::string(5000, 'x')), "bad.png: not a picture"));
    CHECK(contains(message("GIF89a"), "not a picture"));  // animations are written only
    CHECK(contains(message("P5 20000 20000 255\n"), "not a picture"));
    CHECK(contains(error_of([&] { read_image(folder / "no.png"); }), "no.png: cannot read"));
    CHECK(contains(error_of([&] { write_png(folder / "y.png", {}); }), "y.png: not a picture"));
    CHECK(contains(error_of([&] { write_png(folder / "y.png", {2, 2, 3, {1, 2}}); }), "2 bytes"));
    CHECK(contains(error_of([&] { write_png(folder / "x.png/y.png", noise(2, 2, 1, 9)); }),
                   "Not a directory"));
}

TEST_CASE("a damaged picture is told in plain words: what is wrong, and what to do") {
    const TemporaryFolder folder;
    const auto message = [&](std::string_view text) {
        put_text(folder / "bad.png", text);
        return error_of([&] { read_image(folder / "bad.png"); });
    };
    write_png(folder / "x.png", noise(20, 20, 1, 256));
    const std::string whole = get_text(folder / "x.png");
    REQUIRE(message(whole) == "no error");
    CHECK(contains(message(""), "bad.png: not a picture that can be read: the file is empty"));
    for (std::size_t size = 1; size < whole.size(); ++size) {
        CAPTURE(size);
        const std::string said = message(whole.substr(0, size));
        CHECK(contains(said, "bad.png: not a picture that can be read: "));
        CHECK((size < 4 ||
               contains(said, "ends at byte " + std::to_string(size) + ", before its end")));
    }
    std::string text_mode;  // CR LF becomes LF
    for (std::size_t i = 0; i < whole.size(); ++i) {
        if (whole.compare(i, 2, "\r\n") != 0) text_mode += whole[i];
    }
    CHECK(contains(message(text_mode), "line ends were changed"));
    std::string spoiled = whole;
    spoiled[50] = static_cast<char>(spoiled[50] ^ 1);
    CHECK(contains(message(spoiled), "the PNG is damaged between the bytes 33 and "));
    const std::string_view phone(
        "\0\0\0\x18"
        "ftypheic",
        12),
        web("RIFF\0\0\0\0WEBPVP8 ", 16);
    CHECK(contains(message(phone), "it is a HEIC or AVIF picture, or a film; expected PNG, JPEG"));
    CHECK(contains(message(web), "it is a WebP picture"));
    CHECK(contains(message("<!DOCTYPE html>"), "it is a web page"));
    CHECK(contains(message("some text"), "can be read: expected PNG, JPEG, BMP or PNM"));
}

TEST_CASE(
    "a picture that cannot hold the pixels that it promises is refused before it is unpacked") {
    const TemporaryFolder folder;
    const auto message = [&](const std::string& text) {
        put_text(folder / "x", text);
        return error_of([&] { read_image(folder / "x"); });
    };
    using U16 = std::uint16_t;
    using U32 = std::uint32_t;
    const auto bmp = [](U32 width, U32 height, const std::string& rows) {
        return "BM" + bytes_of<U32>({0, 0, 54, 40, width, height}) + bytes_of<U16>({1, 24}) +
               bytes_of<U32>({0, 0, 0, 0, 0, 0}) + rows;
    };
    const std::string all(16, 'x'), cut(12, 'x'), large = ": its header promises ";
    CHECK(message(bmp(2, 2, all)) == "no error");  // rows of two pixels and two bytes
    CHECK(message(bmp(2, static_cast<U32>(-2), all)) == "no error");  // from the top
    CHECK(contains(message(bmp(2, 2, cut)), "x: not a picture that can be read" + large + "14"));
    CHECK(contains(message(bmp(4, 0, all)), "x: not a picture that can be read: the picture is e"));
    CHECK(contains(message(bmp(16384, 16384, all)), large + "805306368 bytes of pixels"));
    const std::string old = "BM" + bytes_of<U32>({0, 0, 26, 12}) + bytes_of<U16>({2, 2, 1, 24});
    CHECK(message(old + all) == "no error");
    CHECK(contains(message(old + cut), large));

    for (const std::string start : {"P5 3 2 255\n", "P5 # a remark\n 3\t2\r# another\n255 "}) {
        CHECK(message(start + "123456") == "no error");
        CHECK(contains(message(start + "12345"), large + "6 bytes of pixels"));
    }
    CHECK(message("P6 2 1 255\n123456") == "no error");
    CHECK(contains(message("P6 2 1 256\n123456"), large + "12 bytes"));
    CHECK(contains(message("P5"), "x: "));

    write_png(folder / "x", noise(20, 20, 1, 256));
    std::string png = get_text(folder / "x");
    const std::string header = bytes_of<std::uint8_t>({0, 0, 64, 0, 0, 0, 64, 0, 8, 6, 0, 0, 0});
    png = png.substr(0, 8) + png_chunk("IHDR", header) + png.substr(33);
    CHECK(contains(message(png), large + "1073741824 bytes of pixels, too many for the "));
    const std::string jpeg("\xff\xd8\xff\xc0\0\x0b\x08\x40\0\x40\0\x01\x01\x11\0\xff\xd9", 17);
    CHECK(contains(message(jpeg), large + "268435456 bytes of pixels"));
}

TEST_CASE("JPEG: a table of more codes than there are is refused, wherever it stands") {
    const auto message = [](const std::string& text) {
        return error_of([&] { look_at_picture(std::as_bytes(std::span(text)), "x"); });
    };
    const auto table = [](int codes) {  // of 8 bits each
        const std::string lengths =
            std::string(7, '\0') + static_cast<char>(codes) + std::string(8, '\0');
        const int length = 2 + 1 + 16 + codes;
        return std::string("\xff\xc4") + static_cast<char>(length / 256) +
               static_cast<char>(length % 256) + '\0' + lengths +
               std::string(static_cast<std::size_t>(codes), 'x');
    };
    std::string wrong = table(255);
    wrong[4 + 7] = 4;  // and 4 of 7 bits, 259 in all
    const std::string scan("\xff\xda\0\x02\xff\0numbers\xff\xd0more", 17), end = "\xff\xd9";
    CHECK(message("\xff\xd8" + table(255) + scan + table(3) + scan + end) == "no error");
    CHECK(
        message("\xff\xd8" + wrong + scan + end) ==
        "x: not a picture that can be read: byte 6: a table of the JPEG has 259 codes, at most 256 "
        "are possible: it is damaged");
    CHECK(contains(message("\xff\xd8" + scan + "\xff" + wrong + end), "has 259 codes"));
    const std::string filled = scan + "\xff\xff" + std::string("\0\xff\xff", 3);
    CHECK(contains(message("\xff\xd8" + filled + wrong + end), "has 259 codes"));
    CHECK(contains(message("\xff\xd8" + table(1) + "padding" + wrong + end), "has 259 codes"));
    std::string short_one = wrong;  // stb_image reads a table beyond its segment
    short_one[2] = 0;
    short_one[3] = 3;
    CHECK(contains(message("\xff\xd8" + short_one + end), "has 259 codes"));
}

TEST_CASE("EXIF data that promise entries without end do not hold up the reader") {
    std::string file = "\xff\xd8";
    const std::string exif = "II*" + std::string("\0\x08\0\0\0\xff\xff", 7);
    for (int i = 0; i < 200000; ++i)
        file += "\xff\xe1" +
                std::string(
                    "\0\x12"
                    "Exif\0\0",
                    8) +
                exif;
    file += "\xff\xd9";
    const std::clock_t begin = std::clock();
    CHECK(look_at_picture(std::as_bytes(std::span(file)), "x") == 1);
    CHECK((std::clock() - begin) / CLOCKS_PER_SEC < 5);
}

TEST_CASE("a photograph is shown the right way up: the eight orientations of EXIF") {
    const TemporaryFolder folder;
    // a b c    as it lies in the file
    // d e f
    const Image stored{2, 3, 1, {10, 20, 30, 40, 50, 60}};
    const std::vector<std::vector<std::uint8_t>> shown = {
        {10, 20, 30, 40, 50, 60}, {30, 20, 10, 60, 50, 40}, {60, 50, 40, 30, 20, 10},
        {40, 50, 60, 10, 20, 30}, {10, 40, 20, 50, 30, 60}, {40, 10, 50, 20, 60, 30},
        {60, 30, 50, 20, 40, 10}, {30, 60, 20, 50, 10, 40}};
    for (int orientation = 1; orientation <= 8; ++orientation) {
        for (const bool lowest_first : {false, true}) {
            CAPTURE(orientation);
            write_png(folder / "x.png", stored);
            orient_png(folder / "x.png", orientation, lowest_first);
            const Image image = read_image(folder / "x.png");
            CHECK(image.height == (orientation <= 4 ? 2 : 3));
            CHECK(image.width == (orientation <= 4 ? 3 : 2));
            CHECK(image.pixels == shown[static_cast<std::size_t>(orientation - 1)]);
        }
    }
    for (const int senseless : {0, 9, 65535}) {
        write_png(folder / "x.png", stored);
        orient_png(folder / "x.png", senseless);
        CHECK(read_image(folder / "x.png").pixels == stored.pixels);
    }
}

TEST_CASE("JPEG: turned as EXIF says, and refused when it was cut short") {
    const TemporaryFolder folder;
    const unsigned char file[] = {
        // 16 x 8, the left half black, the right half white
        0xff, 0xd8, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x10, 0x0b, 0x0c, 0x0e, 0x0c, 0x0a, 0x10, 0x0e,
        0x0d, 0x0e, 0x12, 0x11, 0x10, 0x13, 0x18, 0x28, 0x1a, 0x18, 0x16, 0x16, 0x18, 0x31, 0x23,
        0x25, 0x1d, 0x28, 0x3a, 0x33, 0x3d, 0x3c, 0x39, 0x33, 0x38, 0x37, 0x40, 0x48, 0x5c, 0x4e,
        0x40, 0x44, 0x57, 0x45, 0x37, 0x38, 0x50, 0x6d, 0x51, 0x57, 0x5f, 0x62, 0x67, 0x68, 0x67,
        0x3e, 0x4d, 0x71, 0x79, 0x70, 0x64, 0x78, 0x5c, 0x65, 0x67, 0x63, 0xff, 0xc0, 0x00, 0x0b,
        0x08, 0x00, 0x08, 0x00, 0x10, 0x01, 0x01, 0x11, 0x00, 0xff, 0xc4, 0x00, 0x15, 0x00, 0x01,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x07, 0x08, 0xff, 0xc4, 0x00, 0x14, 0x10, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xda, 0x00, 0x08, 0x01, 0x01,
        0x00, 0x00, 0x3f, 0x00, 0x3f, 0x50, 0x0f, 0xff, 0xd9};
    const std::string plain(reinterpret_cast<const char*>(file), sizeof file);
    const auto read = [&](const std::string& text) {
        put_text(folder / "x.jpg", text);
        return read_image(folder / "x.jpg");
    };
    const std::string exif = std::string("Exif\0\0", 6) + exif_of(6, false);
    const std::string turned = plain.substr(0, 2) + "\xff\xe1" + '\0' +
                               static_cast<char>(exif.size() + 2) + exif + plain.substr(2);
    CHECK(read(plain).width == 16);
    const Image shown = read(turned);
    REQUIRE(shown.width == 8);
    REQUIRE(shown.height == 16);
    CHECK(shown.pixels[3] < 20);  // black above: 6 is a quarter turn to the right
    CHECK(shown.pixels[15 * 8 + 3] > 235);
    for (std::size_t size = 3; size < turned.size(); ++size) {
        CAPTURE(size);
        CHECK(contains(error_of([&] { read(turned.substr(0, size)); }),
                       "the JPEG ends at byte " + std::to_string(size) + ", before its end"));
    }
    std::string damaged = turned;
    for (std::size_t at = 3; at < turned.size(); ++at) {  // a picture or an error, and no crash
        damaged[at] = static_cast<char>(damaged[at] ^ 0x7f);
        error_of([&] { read(damaged); });
        damaged[at] = turned[at];
    }
}

TEST_CASE("a grid has the images in reading order, enlarged, with grey between them") {
    const std::vector<float> values = {-1, 1, 0, -1, 1, 0};  // three images of 1 x 2
    const Tensor<const float> images(values.data(), {3, 1, 2, 1});
    const std::uint8_t g = 48;
    const Image grid = image_grid(images, 2, 2, 1);
    CHECK(grid.height == 5);
    CHECK(grid.width == 9);
    CHECK(grid.pixels == std::vector<std::uint8_t>{0,   0,   255, 255, g, 128, 128, 0, 0,  //
                                                   0,   0,   255, 255, g, 128, 128, 0, 0,  //
                                                   g,   g,   g,   g,   g, g,   g,   g, g,  //
                                                   255, 255, 128, 128, g, g,   g,   g, g,  //
                                                   255, 255, 128, 128, g, g,   g,   g, g});
    CHECK(to_image(images[1]).pixels == std::vector<std::uint8_t>{128, 0});

    const std::vector<float> colour = {-1, 0, 1, 1, 0, -1};
    const Image rgb = to_image({colour.data(), {1, 2, 3}}, 2);
    CHECK(rgb.pixels == std::vector<std::uint8_t>{0,   128, 255, 0,   128, 255, 255, 128,
                                                  0,   255, 128, 0,   0,   128, 255, 0,
                                                  128, 255, 255, 128, 0,   255, 128, 0});

    const std::vector<Image> rows = {{1, 2, 1, {1, 2}}, {2, 2, 1, {3, 4, 5, 6}}};
    const Image stack = stack_rows(rows, 1);
    CHECK(stack.height == 4);
    CHECK(stack.pixels == std::vector<std::uint8_t>{1, 2, g, g, 3, 4, 5, 6});
}

TEST_CASE("grids of nothing, of latents or of absurd size are errors") {
    const std::vector<float> x(64, 0.0f);
    const auto message = [&](Shape shape, int columns, int zoom, int gap) {
        return error_of([&] { image_grid({x.data(), shape}, columns, zoom, gap); });
    };
    CHECK(message({1, 4, 4, 1}, 1, 1, 0) == "no error");
    CHECK(contains(message({1, 4, 4, 4}, 1, 1, 0), "1 or 3 channels expected, got 4"));
    CHECK(contains(message({4, 4, 1}, 1, 1, 0), "expected [N,H,W,C], got [4,4,1]"));
    CHECK(contains(message({0, 4, 4, 1}, 1, 1, 0), "empty"));
    CHECK(contains(message({1, 4, 4, 1}, 0, 1, 0), "columns 0"));
    CHECK(contains(message({1, 4, 4, 1}, 1, 0, 0), "zoom 0"));
    CHECK(contains(message({1, 4, 4, 1}, 1, 1, -1), "gap -1"));
    CHECK(contains(message({1, 4, 4, 1}, 1 << 30, 1 << 20, 0), "too large"));
    CHECK(contains(error_of([&] { to_image({x.data(), {8, 8}}); }), "expected [H,W,C]"));
    CHECK(contains(error_of([] { stack_rows({}); }), "0 rows"));
    const std::vector<Image> uneven = {noise(1, 2, 1, 9), noise(1, 3, 1, 9)};
    CHECK(contains(error_of([&] { stack_rows(uneven); }), "width 3"));
}

TEST_CASE("a picture of any size and kind is made to fit the model") {
    std::vector<float> out(4);
    const Tensor<float> x(out.data(), {2, 2, 1});
    const Image same{2, 2, 1, {0, 255, 51, 102}};
    fit_picture(same, false, x);
    CHECK(out == std::vector<float>{-1.0f, 1.0f, -0.6f, -0.2f});
    fit_picture(same, true, x);
    CHECK(out[1] == -1.0f);
    const Image large{4, 4, 1, {0, 0, 255, 255, 0, 0, 255, 255, 255, 0, 0, 0, 0, 255, 0, 0}};
    fit_picture(large, false, x);
    CHECK(out == std::vector<float>{-1.0f, 1.0f, 0.0f, -1.0f});
    const Image odd{3, 3, 1, {255, 255, 255, 255, 255, 255, 255, 255, 255}};
    fit_picture(odd, false, x);
    CHECK(*std::ranges::min_element(out) == doctest::Approx(1));
    const Image green{1, 1, 3, {0, 255, 0}};
    fit_picture(green, false, x);
    CHECK(out[3] == doctest::Approx(2 * 0.587 - 1).epsilon(1e-6));
}
