#include "tensor/random.hpp"

#include <cmath>
#include <numbers>

namespace diffusion {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c,
                                        std::array<std::uint32_t, 2> key) {
    constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
    constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = kMultiplier0 * c[0], p1 = kMultiplier1 * c[2];
        c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(p0)};
        key[0] += kWeyl0;
        key[1] += kWeyl1;
    }
    return c;
}

std::uint32_t Random::bits() {
    if (left_ == 0) {
        block_ = philox4x32(counter_, key_);
        ++counter_[0];
        left_ = 4;
    }
    return block_[static_cast<std::size_t>(4 - left_--)];
}

double Random::uniform() {
    const std::uint64_t high = bits(), low = bits();
    return static_cast<double>(((high << 32) | low) >> 11) * 0x1p-53;
}

double Random::normal() {
    if (has_spare_) {
        has_spare_ = false;
        return spare_;
    }
    const double radius =
        std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is in (0, 1]: the log is finite
    const double angle = 2.0 * std::numbers::pi * uniform();
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
}

std::uint32_t Random::below(std::uint32_t n) {
    require(n > 0, "random: below(0)");
    const std::uint32_t limit =
        0xFFFFFFFFu - 0xFFFFFFFFu % n;  // largest multiple of n that fits: reject what lies above
    std::uint32_t x = bits();
    while (x >= limit) x = bits();
    return x % n;
}

template <class T>
void fill_normal(Tensor<T> x, Random random) {
    for (T& value : x) value = static_cast<T>(random.normal());
}
template void fill_normal(Tensor<float>, Random);
template void fill_normal(Tensor<double>, Random);

}  // namespace diffusion
