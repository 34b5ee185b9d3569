#include "04_unet/batch.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "data/shuffle.hpp"
#include "tensor/array.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

Random stream(std::uint64_t seed, Purpose purpose, std::int64_t step, int sample) {
    return {seed, purpose, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(sample)};
}

/// Fails unless `nothing` has one sample of the shape of those of x, where x has numbers at all.
template <class T>
void check_nothing(const char* what, Tensor<T> x, const Array<T>& nothing) {
    if (!x) return;
    require(
        !nothing.empty() && nothing.shape()[0] == 1 && nothing.tensor()[0].shape() == x[0].shape(),
        "drop_conditions: a sample's ", what, " are ", x[0].shape(), ", but `nothing` has ",
        nothing.shape());
}
template <class T>
void replace(Tensor<T> x, int i, const Array<T>& nothing) {
    if (x) std::copy(nothing.begin(), nothing.end(), x[i].begin());
}

template <class T>
Array<T> copy_of(Tensor<T> x) {
    if (!x) return {};
    Array<T> copy(x.shape());
    std::copy(x.begin(), x.end(), copy.begin());
    return copy;
}

/// The condition that stands for none, in memory of its own.
struct Nothing {
    Array<float> tokens, pooled;
    Array<unsigned char> keep;
    Array<int> ids, labels;

    explicit Nothing(const Batch& batch)
        : tokens(copy_of(batch.tokens)),
          pooled(copy_of(batch.pooled)),
          keep(copy_of(batch.keep)),
          ids(copy_of(batch.ids)),
          labels(copy_of(batch.labels)) {}
    void check(const Batch& batch) const {
        check_nothing("tokens", batch.tokens, tokens);
        check_nothing("pooled vectors", batch.pooled, pooled);
        check_nothing("keep flags", batch.keep, keep);
        check_nothing("ids", batch.ids, ids);
        check_nothing("labels", batch.labels, labels);
    }
    void put_into(const Batch& batch, int i) const {
        replace(batch.tokens, i, tokens);
        replace(batch.pooled, i, pooled);
        replace(batch.keep, i, keep);
        replace(batch.ids, i, ids);
        replace(batch.labels, i, labels);
    }
};

template <class T>
Tensor<T> rows_of(Tensor<T> x, int first, int count) {
    if (!x) return {};
    require(first >= 0 && count > 0 && first + count <= x.size(0), "a batch: samples ", first, "..",
            first + count - 1, " of ", x.size(0));
    Shape shape = x.shape();
    shape.n[0] = count;
    return {x[first].data(), shape};
}

}  // namespace

Batch part_of(const Batch& batch, int first, int count) {
    return {rows_of(batch.x0, first, count),     rows_of(batch.tokens, first, count),
            rows_of(batch.pooled, first, count), rows_of(batch.keep, first, count),
            rows_of(batch.ids, first, count),    rows_of(batch.labels, first, count)};
}

Batch without_pictures(Batch batch) {
    batch.x0 = {};
    return batch;
}

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
    return [source = std::move(source), rate, none = Nothing(nothing), seed](
               Arena& arena, std::int64_t step, int first, int count) {
        const Batch batch = source(arena, step, first, count);
        none.check(batch);
        for (int i = 0; i < count; ++i) {
            Random random = stream(seed, Purpose::condition_dropout, step, first + i);
            if (random.uniform() < rate) none.put_into(batch, i);
        }
        return batch;
    };
}

}  // namespace diffusion
