#pragma once
// Sets of pictures with a known fault, made of real ones: what a measure sees and what it misses.
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.hpp"

namespace diffusion {

struct FaultySet {
    std::string name, fault;
    Dataset pictures;
};

/// n pictures each. All but the learned by heart are made of test pictures; both sets need labels.
std::vector<FaultySet> make_faults(const Dataset& train, const Dataset& test, int n,
                                   std::uint64_t seed);

/// Every pixel becomes the mean of the 3 x 3 around it.
Dataset blurred(const Dataset& pictures);

/// One picture in ten has its right half from the next one.
Dataset one_in_ten_halves(const Dataset& pictures);

/// With independent normal noise in every pixel, in units of [-1, 1], and clipped.
Dataset noisy(const Dataset& pictures, double deviation, std::uint64_t seed);

}  // namespace diffusion
