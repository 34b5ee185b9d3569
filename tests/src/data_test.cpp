// Loaders: what they read, and what they say about files that are not as they should be.
#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <string>

#include "data/cifar10.hpp"
#include "data/find.hpp"
#include "data/idx.hpp"
#include "data/image_folder.hpp"
#include "io/image.hpp"
#include "kernels/threads.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

namespace {

void write(const fs::path& path, const Bytes& bytes) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
}

Bytes gzip(Bytes bytes) {
    z_stream z{};
    REQUIRE(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    Bytes out(bytes.size() + 200);
    z.next_in = bytes.data();
    z.avail_in = static_cast<uInt>(bytes.size());
    z.next_out = out.data();
    z.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
}

Bytes joined(Bytes a, const Bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}
Bytes first(const Bytes& bytes, std::size_t n) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)};
}

/// Two images of 2 x 3 with the values 0, 1, .. 11.
const Bytes kImages{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0,  0,
                    0, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
Bytes labels(const Bytes& values) {
    return joined({0, 0, 8, 1, 0, 0, 0, static_cast<std::uint8_t>(values.size())}, values);
}

/// The message of the Error that `call` throws, checked to be one line that names the path.
std::string complaint(const fs::path& path, const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        const std::string message = error.what();
        CAPTURE(message);
        CHECK(message.find(path.string()) != std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
        return message;
    }
    return "nothing was thrown";
}

void check_says(const std::string& message, const std::string& part) {
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_SUITE_BEGIN("src");

TEST_CASE("decode maps 0, 255 to -1, 1 exactly and flips rows") {
    CHECK(from_byte(0) == -1.0f);
    CHECK(from_byte(255) == 1.0f);
    const Dataset data{"d", "", 2, 1, 2, 3, {9, 9, 9, 9, 9, 9, 0, 1, 2, 253, 254, 255}, {}};
    std::vector<float> out(6);
    decode(data, 1, false, {out.data(), {1, 2, 3}});
    for (std::size_t i = 0; i < 6; ++i) CHECK(out[i] == from_byte(data.pixels[6 + i]));
    decode(data, 1, true, {out.data(), {1, 2, 3}});
    for (std::size_t i = 0; i < 6; ++i) CHECK(out[i] == from_byte(data.pixels[6 + (i + 3) % 6]));
    CHECK_THROWS_AS(decode(data, 2, false, {out.data(), {1, 2, 3}}), Error);
    CHECK_THROWS_AS(decode(data, 0, false, {out.data(), {2, 1, 3}}), Error);
}

TEST_CASE("the checksum tells sizes, pixels and labels apart, and not the number of threads") {
    const auto made = [](int height, int width) {
        Dataset data{"d", "", 3, height, width, 1, {}, {1, 2, 3}};
        data.pixels.resize(static_cast<std::size_t>(3 * height * width));
        for (std::size_t i = 0; i < data.pixels.size(); ++i)
            data.pixels[i] = static_cast<std::uint8_t>(i * i >> 3u);
        return data;
    };
    const Dataset data = made(1001, 999);  // three blocks, the last one short and odd
    const std::string sum = checksum(data);
    CHECK(sum.size() == 16);
    CHECK(checksum(made(999, 1001)) != sum);  // the same bytes
    for (const std::size_t at : {std::size_t{0}, std::size_t{1} << 20u, data.pixels.size() - 1}) {
        Dataset other = data;
        other.pixels[at] ^= 128u;
        CHECK(checksum(other) != sum);
    }
    Dataset other = data;
    std::swap(other.labels[1], other.labels[2]);
    CHECK(checksum(other) != sum);
    other = data;
    std::rotate(other.pixels.begin(), other.pixels.begin() + (1 << 20), other.pixels.end());
    CHECK(checksum(other) != sum);
#ifdef _OPENMP
    const int most = omp_get_max_threads();
    for (const int threads : {1, 3}) {
        omp_set_num_threads(threads);
        CHECK(checksum(data) == sum);
    }
    omp_set_num_threads(most);
#endif
}

TEST_CASE("IDX: plain, gzip and gzip in two members read back what was written") {
    const TemporaryFolder folder;
    const fs::path path = folder / "images";
    const std::vector<int> shape{2, 2, 3};
    write_idx(path, shape, std::span(kImages).subspan(16));
    const IdxArray plain = read_idx_images(path);
    CHECK(plain.shape == shape);
    CHECK(plain.bytes == Bytes(kImages.begin() + 16, kImages.end()));
    for (const Bytes& packed :
         {gzip(kImages),
          joined(gzip(first(kImages, 9)), gzip(Bytes(kImages.begin() + 9, kImages.end())))}) {
        write(path, packed);
        CHECK(read_idx_images(path).bytes == plain.bytes);
    }
    const std::vector<int> colour{1, 2, 2, 3}, list{12};
    write_idx(path, colour, plain.bytes);
    CHECK(read_idx_images(path).shape == colour);
    write_idx(path, list, plain.bytes);
    CHECK(read_idx_labels(path) == plain.bytes);
    check_says(complaint(path, [&] { write_idx(path, shape, std::span(kImages)); }), "ask for 12");
    const std::vector<int> endless(4, 1 << 16);  // 2^64 bytes
    check_says(complaint(path, [&] { write_idx(path, endless, {}); }), "the sizes ask for");
    CHECK(read_idx_labels(path) == plain.bytes);  // the old file stayed
}

TEST_CASE("IDX: every broken file is one line with the place and what was expected") {
    const TemporaryFolder folder;
    const fs::path path = folder / "train-images-idx3-ubyte.gz";
    const auto says = [&](const Bytes& bytes) {
        write(path, bytes);
        return complaint(path, [&] { read_idx_images(path); });
    };
    check_says(complaint(path, [&] { read_idx_images(path); }), "No such file");
    check_says(complaint(folder.path(), [&] { read_idx_images(folder.path()); }), "directory");
    check_says(says({}), "empty");
    check_says(says(first(kImages, 3)), "ends at byte 3");
    check_says(says(first(kImages, 15)), "ends at byte 15, inside the IDX header of 16");
    check_says(says(first(kImages, 27)),
               "2 x 2 x 3 = 12 bytes after byte 16, but the file has only 11");
    check_says(says(joined(kImages, {0})), "byte 28: data after the last");
    check_says(says(labels({1, 2})), "0x00000801, expected 0x00000803");
    check_says(says({'h', 'e', 'l', 'l', 'o'}), "not an IDX file");
    check_says(says({0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3}), "byte 8: a size of 0");
    const Bytes huge{0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    check_says(says(huge), "impossible sizes 4294967295 x 4294967295 x 4294967295");
    check_says(says(gzip(huge)), "impossible sizes");
    const Bytes large{0, 0, 8, 3, 0, 0, 64, 0, 0, 0, 1, 0, 0, 0, 1, 0, 7};  // 1 GiB promised
    check_says(says(large), "but the file has only 1");
    check_says(says(gzip(large)), "but the unpacked data have only 1");
    const Bytes packed = gzip(kImages);
    for (std::size_t n = 2; n < packed.size(); ++n) {
        check_says(says(first(packed, n)), "cut short");
    }
    check_says(says(joined(packed, {0, 0})), "2 bytes follow the gzip data");
    check_says(says(gzip(joined(kImages, {0}))), "byte 28: data after the last");
    for (std::size_t from_end : {1u, 5u}) {  // the stored length and the checksum
        Bytes bad = packed;
        bad[bad.size() - from_end] ^= 1;
        check_says(says(bad), "corrupt gzip data");
    }
    write(path, kImages);
    check_says(complaint(path, [&] { read_idx_labels(path); }), "expected 0x00000801 (labels)");
}

TEST_CASE("CIFAR-10: planes become channels; wrong lengths, labels and gaps are refused") {
    const TemporaryFolder folder;
    const auto batch = [&](int n) { return folder / ("data_batch_" + std::to_string(n) + ".bin"); };
    const auto says = [&](int n) {
        return complaint(batch(n), [&] { read_cifar10(folder.path(), true); });
    };
    check_says(says(1), "no such file");
    Bytes two(2 * 3073);
    two[0] = 9;
    for (std::size_t c = 0; c < 3; ++c) two[1 + 1024 * c + 33] = static_cast<std::uint8_t>(10 + c);
    two[3073] = 4;
    write(batch(1), two);
    write(batch(2), first(two, 3073));
    const Dataset data = read_cifar10(folder.path(), true);
    CHECK(data.count == 3);
    CHECK(data.labels == Bytes{9, 4, 9});
    CHECK(data.pixels.size() == 3 * 3072);
    for (std::size_t c = 0; c < 3; ++c)
        CHECK(data.pixels[3 * 33 + c] == 10 + c);  // row 1, column 1
    check_says(complaint(folder.path(), [&] { read_cifar10(folder.path(), false); }),
               "test_batch.bin");

    write(batch(2), first(two, 3072));
    check_says(says(2), "3072 bytes, expected a multiple of 3073");
    write(batch(2), {});
    check_says(says(2), "0 bytes, expected a multiple of 3073");
    two[3073] = 10;
    write(batch(2), two);
    check_says(says(2), "byte 3073: label 10 of record 1, expected 0 to 9");
    write(batch(1), Bytes(10000 * 3073));  // a full batch is followed by the next
    fs::remove(batch(2));
    check_says(says(2), "no such file");
    write(batch(1), Bytes(10001 * 3073));
    check_says(says(1), "at most 30730000");
}

TEST_CASE("image folder: sorted by name, of one size, nothing but pictures") {
    const TemporaryFolder folder;
    const auto says = [&](const fs::path& path) {
        return complaint(path, [&] { read_image_folder(folder.path()); });
    };
    check_says(says(folder.path()), "no pictures");
    const auto grey = [](std::uint8_t v, int w) {
        return Image{1, w, 1, Bytes(static_cast<std::size_t>(w), v)};
    };
    write_png(folder / "b.png", grey(2, 2));
    write_png(folder / "a.PNG", grey(1, 2));
    write(folder / "notes.txt", {1});
    write(folder / "._b.png", {1});
    const Dataset data = find_dataset("folder:" + folder.path().string(), "", true);
    CHECK(data.count == 2);
    CHECK(data.pixels == Bytes{1, 1, 2, 2});
    CHECK(data.labels.empty());
    write_png(folder / "c.png", grey(3, 5));
    const std::string message = says(folder / "c.png");
    check_says(message, "5 x 1 grey");
    check_says(message, (folder / "a.PNG").string() + " is 2 x 1 grey");
    write(folder / "c.png", {1, 2, 3});
    says(folder / "c.png");
    check_says(complaint("/nowhere", [] { read_image_folder("/nowhere"); }), "No such file");
}

namespace {

/// A batch of CIFAR-10's Python version as Python 2 pickled it: labels 0, 1, 2, ..; picture n has
/// planes of n, n + 1 and n + 2.
std::string python_batch(int pictures) {
    std::string labels, data;
    for (int n = 0; n < pictures; ++n) {
        labels += std::string("K") + static_cast<char>(n % 10);
        for (int c = 0; c < 3; ++c) data.append(1024, static_cast<char>(n + c));
    }
    std::string length;
    for (int shift = 0; shift < 32; shift += 8)
        length += static_cast<char>(data.size() >> shift & 255);
    using namespace std::string_literals;
    return "\x80\x02}q\x01(U\x0b"
           "batch_labelq\x02U\x05"
           "firstq\x03U\x06labelsq\x04]q\x05("s +
           labels +
           "eU\x04"
           "dataq\x06"
           "cnumpy.core.multiarray\n_reconstruct\nq\x07"
           "cnumpy\nndarray\nq\x08K\x00"
           "\x85U\x01"
           "b\x87Rq\x09(K\x01K\x02M\x00\x0c\x86"
           "cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K"
           "\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"s +
           length + data +
           "tbU\x09"
           "filenamesq\x0c]q\x0d(U\x05"
           "a.pngU\x05"
           "b.pngeu."s;
}

}  // namespace

TEST_CASE("CIFAR-10: the Python version is read as the binary one is") {
    const TemporaryFolder folder;
    const auto put = [&](const std::string& text) {
        write(folder / "data_batch_1", Bytes(text.begin(), text.end()));
    };
    put(python_batch(12));
    const Dataset data = read_cifar10(folder.path(), true);
    CHECK(data.count == 12);
    CHECK(data.labels[3] == 3);
    CHECK(data.labels[11] == 1);
    const std::size_t picture = 5 * data.image_size();
    CHECK(Bytes(data.pixels.begin() + 5 * 3072, data.pixels.begin() + 5 * 3072 + 6) ==
          Bytes{5, 6, 7, 5, 6, 7});
    CHECK(data.pixels[picture + 3071] == 7);
    CHECK(find_dataset("cifar10", folder.path().string(), true).pixels == data.pixels);
    fs::create_directory(folder / "cifar-10-batches-py");
    fs::rename(folder / "data_batch_1", folder / "cifar-10-batches-py" / "data_batch_1");
    CHECK(find_dataset("cifar10", folder.path().string(), true).pixels == data.pixels);

    const fs::path path = folder / "data_batch_1";
    const auto says = [&](const std::string& text) {
        put(text);
        return complaint(path, [&] { read_cifar10(folder.path(), true); });
    };
    const std::string whole = python_batch(1);
    for (std::size_t size = 0; size < whole.size() - 40; size += 1 + size / 40) {
        CAPTURE(size);
        check_says(says(whole.substr(0, size)),
                   "data/download.sh cifar10 fetches the binary version");
    }
    check_says(says("(dp0\nS'labels'"), "byte 1: not a batch of CIFAR-10 as Python keeps it");
    std::string odd = whole;
    odd[odd.find("(K") + 2] = 10;
    check_says(says(odd), "label 10 of picture 0, expected 0 to 9");
}

TEST_SUITE_END();
