#include "04_unet/batch.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "data/shuffle.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

Random stream(std::uint64_t seed, Purpose purpose, std::int64_t step, int sample) {
    return {seed, purpose, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(sample)};
}

/// Writes the one sample of `nothing` over sample i of x, where x has numbers at all.
template <class T>
void replace(const char* what, Tensor<T> x, int i, Tensor<T> nothing) {
    if (!x) return;
    require(nothing && nothing.size(0) == 1 && nothing[0].shape() == x[i].shape(),
            "drop_conditions: ", what, " of a sample is ", x[i].shape(), ", in place of it stands ",
            nothing ? nothing.shape() : Shape{});
    std::copy(nothing.begin(), nothing.end(), x[i].begin());
}

}  // namespace

Source picture_source(const Dataset& data, const PictureOptions& options) {
    require(data.count > 0, "training: the data set is empty");
    require(!options.labels || std::ssize(data.labels) == data.count, "training: ", data.source,
            " has no labels");
    const auto shuffle = std::make_shared<Shuffle>(data.count, options.seed);
    return [&data, options, shuffle](Arena& arena, std::int64_t step, int first, int count) {
        Batch batch;
        batch.x0 = arena.make<float>({count, data.height, data.width, data.channels});
        if (options.labels) batch.labels = arena.make<int>({count});
        for (int i = 0; i < count; ++i) {
            const int picture = shuffle->at(step * options.batch + first + i);
            Random random = stream(options.seed, Purpose::augmentation, step, first + i);
            decode(data, picture, options.flip && (random.bits() & 1) != 0, batch.x0[i]);
            if (options.labels) batch.labels(i) = data.labels[static_cast<std::size_t>(picture)];
        }
        return batch;
    };
}

Source drop_conditions(Source source, double rate, const Batch& nothing, std::uint64_t seed) {
    require(rate >= 0 && rate <= 1, "drop_conditions: the rate is ", rate, ", expected 0..1");
    return [source = std::move(source), rate, nothing, seed](Arena& arena, std::int64_t step,
                                                             int first, int count) {
        const Batch batch = source(arena, step, first, count);
        for (int i = 0; i < count; ++i) {
            Random random = stream(seed, Purpose::condition_dropout, step, first + i);
            if (random.uniform() >= rate) continue;
            replace("tokens", batch.tokens, i, nothing.tokens);
            replace("pooled", batch.pooled, i, nothing.pooled);
            replace("keep", batch.keep, i, nothing.keep);
            replace("ids", batch.ids, i, nothing.ids);
            if (batch.labels) {
                require(nothing.labels && nothing.labels.numel() == 1,
                        "drop_conditions: no label stands for none");
                batch.labels(i) = nothing.labels(0);
            }
        }
        return batch;
    };
}

}  // namespace diffusion
