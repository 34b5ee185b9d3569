#pragma once
// Canvases painted beside what is on them, for whatever composes canvases: Scenes or Words.
#include <cstdint>
#include <utility>
#include <vector>

#include "data/canvas.hpp"
#include "kernels/threads.hpp"
#include "tensor/array.hpp"

namespace diffusion {

/// truth[i] is what was painted on canvases[i], [kCanvas,kCanvas,3] in [-1,1].
template <class Truth>
struct Painted {
    std::vector<Truth> truth;
    Array<float> canvases;
};

/// Canvases first .. first + count - 1, on all cores.
template <class Composer>
auto paint_canvases(const Composer& composer, std::int64_t first, int count) {
    Painted<decltype(composer.at(first))> all{{}, Array<float>({count, kCanvas, kCanvas, 3})};
    all.truth.resize(static_cast<std::size_t>(count));
    parallel_for(count, thread_count(), [&](int i) {
        auto& truth = all.truth[static_cast<std::size_t>(i)];
        truth = composer.at(first + i);
        composer.paint(truth, all.canvases.tensor()[i]);
    });
    return all;
}

}  // namespace diffusion
