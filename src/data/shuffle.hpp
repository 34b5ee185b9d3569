#pragma once
// In which order training sees the pictures.
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "tensor/random.hpp"

namespace diffusion {

/// An endless row of passes over `count` pictures, each in an order of its own that depends on the
/// seed and the number of the pass.
class Shuffle {
public:
    Shuffle(int count, std::uint64_t seed) : order_(static_cast<std::size_t>(count)), seed_(seed) {}

    /// The picture that is sample number `sample` of the row. Several threads may ask.
    int at(std::int64_t sample) {
        int picture = 0;
#pragma omp critical(shuffle)
        picture = find(sample);
        return picture;
    }

private:
    int find(std::int64_t sample) {
        const std::int64_t count = std::ssize(order_), pass = sample / count;
        if (pass != pass_) {
            std::iota(order_.begin(), order_.end(), 0);
            Random random(seed_, Purpose::shuffle, static_cast<std::uint32_t>(pass));
            for (std::size_t i = order_.size(); i > 1; --i) {  // Fisher and Yates
                std::swap(order_[i - 1], order_[random.below(static_cast<std::uint32_t>(i))]);
            }
            pass_ = pass;
        }
        return order_[static_cast<std::size_t>(sample % count)];
    }

    std::vector<int> order_;
    std::uint64_t seed_;
    std::int64_t pass_ = -1;
};

}  // namespace diffusion
