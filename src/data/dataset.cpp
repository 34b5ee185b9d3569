#include "data/dataset.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>

#include "kernels/threads.hpp"

namespace diffusion {
namespace {

/// A word goes into a hash: for a given word no two hashes lead to the same one.
std::uint64_t mixed(std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;  // odd: 2^64 over the golden ratio
    return hash ^ (hash >> 32u);
}

/// Of all words, the last one filled up with zeros, and of the length.
std::uint64_t hash_of(std::span<const std::uint8_t> bytes) {
    std::uint64_t hash = bytes.size(), word = 0;
    for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
        std::memcpy(&word, bytes.data(), sizeof word);
        hash = mixed(hash, word);
    }
    word = 0;
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::uint8_t*>(&word));
    return mixed(hash, word);
}

/// The same of blocks, each by itself, combined in their order.
std::uint64_t hash_of_blocks(std::span<const std::uint8_t> bytes) {
    constexpr std::size_t kHashed = std::size_t{1} << 20u;
    std::vector<std::uint64_t> blocks((bytes.size() + kHashed - 1) / kHashed);
    parallel_for(static_cast<int>(blocks.size()), thread_count(), [&](int block) {
        const std::size_t begin = static_cast<std::size_t>(block) * kHashed;
        blocks[static_cast<std::size_t>(block)] =
            hash_of(bytes.subspan(begin, std::min(kHashed, bytes.size() - begin)));
    });
    std::uint64_t hash = blocks.size();
    for (const std::uint64_t block : blocks) hash = mixed(hash, block);
    return hash;
}

}  // namespace

void decode(const Dataset& data, int index, bool flip, Tensor<float> out) {
    require(index >= 0 && index < data.count, "decode: picture ", index, " of ", data.name,
            ", which has ", data.count);
    const Shape expected{data.height, data.width, data.channels};
    require(out.shape() == expected, "decode: a picture of ", data.name, " is ", expected,
            ", the output is ", out.shape());
    const std::uint8_t* in =
        data.pixels.data() + static_cast<std::size_t>(index) * data.image_size();
    for (int y = 0; y < data.height; ++y) {
        for (int x = 0; x < data.width; ++x) {
            for (int c = 0; c < data.channels; ++c) {
                out(y, flip ? data.width - 1 - x : x, c) = from_byte(*in++);
            }
        }
    }
}

std::string checksum(const Dataset& data) {
    std::uint64_t hash = 0;
    for (const int size : {data.count, data.height, data.width, data.channels})
        hash = mixed(hash, static_cast<std::uint64_t>(size));
    hash = mixed(hash, hash_of_blocks(data.pixels));
    hash = mixed(hash, hash_of_blocks(data.labels));
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return text;
}

}  // namespace diffusion
