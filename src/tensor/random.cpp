#include "tensor/random.hpp"

#include <cmath>
#include <numbers>

namespace diffusion {

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
