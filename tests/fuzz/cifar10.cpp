// A batch of CIFAR-10: the binary version, and Python's pickle.
#include "data/cifar10.hpp"

#include <array>

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

/// Repeats the input's last byte up to the size of a picture, which so need not be in the input.
constexpr char kFill = '\xf1';
std::string filled(const std::string& input) {
    std::string text;
    for (const char c : input) text.append(c == kFill ? 3072 : 1, c);
    return text;
}

}  // namespace

std::vector<std::string> seeds() {
    using namespace std::string_literals;
    const std::string fill(1, kFill),
        old =
            "\x80\x02}q\1(U\13batch_labelq\2U\x05part1q\3U\x06labelsq\4]q\5(K\7K\2eU\x04"
            "dataq\x06"
            "cnumpy.core.multiarray\n_reconstruct\nq\x07(T\0\x18\0\0"s +
            fill + fill + "tbu."s,
        later =
            "\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(\x8c\x06labels\x94]\x94K\x03"
            "a\x8c\x04"
            "data\x94"
            "B\0\x0c\0\0"s +
            fill + "\x94u."s;
    return {"\x07"s + fill + "\x02"s + fill, "\x09"s + fill, old, later,
            "\x80\x02U\x04"
            "dataq\1\x8e\xff\xff\xff\xff\xff\xff\xff\xff"s};
}

void check(const std::string& input) {
    const std::string file = filled(input);
    const std::array names{"binary/test_batch.bin", "python/test_batch"};
    for (const std::filesystem::path name : names) {
        const auto place = folder().path() / name;
        std::filesystem::create_directories(place.parent_path());
        put_text(place, file);
        Dataset data;
        if (!accepted(place.string(), [&] { data = read_cifar10(place.parent_path(), false); }))
            continue;
        must(data.count > 0 && data.labels.size() == static_cast<std::size_t>(data.count) &&
                 data.pixels.size() == data.labels.size() * data.image_size() &&
                 data.pixels.size() <= file.size(),
             "as many pictures as labels");
    }
}

}  // namespace diffusion::fuzz
