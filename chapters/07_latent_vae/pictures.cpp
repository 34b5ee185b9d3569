#include "07_latent_vae/pictures.hpp"

#include <memory>
#include <utility>

#include "data/find.hpp"
#include "data/scenes.hpp"
#include "data/words.hpp"

namespace diffusion {
namespace {

/// Canvas `index` of a composer, painted.
using Paint = std::function<void(std::int64_t index, Tensor<float> canvas)>;

void paint_all(const Paint& paint, std::int64_t first, Tensor<float> canvases) {
    for (int i = 0; i < canvases.size(0); ++i) paint(first + i, canvases[i]);
}

/// Pictures of a composer, which makes them as they are needed.
Pictures composed(std::string name, std::string source, int batch, Paint train, Paint held_out) {
    Pictures pictures;
    pictures.name = std::move(name);
    pictures.source = std::move(source);
    pictures.height = pictures.width = kCanvas;
    pictures.channels = 3;
    pictures.identity = {{"data", pictures.name}};
    pictures.train = [batch, train = std::move(train)](Arena& arena, std::int64_t step, int first,
                                                       int count) {
        Batch part;
        part.x0 = arena.make<float>({count, kCanvas, kCanvas, 3});
        paint_all(train, step * batch + first, part.x0);
        return part;
    };
    pictures.held_out = [held_out = std::move(held_out)](std::int64_t first, int count) {
        Array<float> canvases({count, kCanvas, kCanvas, 3});
        paint_all(held_out, first, canvases.tensor());
        return canvases;
    };
    return pictures;
}

Pictures scene_pictures(const std::string& data_dir, int batch, std::uint64_t seed) {
    const Split digits = find_split("mnist", data_dir);
    const auto paint = [](const Dataset& set, std::uint64_t of) {
        return [scenes = std::make_shared<const Scenes>(digit_sprites(set), of)](
                   std::int64_t index, Tensor<float> canvas) {
            scenes->paint(scenes->scene(index), canvas);
        };
    };
    Pictures pictures =
        composed("scenes", "scenes, 64 x 64, of the digits of " + digits.train.source, batch,
                 paint(digits.train, seed), paint(digits.test, ~seed));
    pictures.identity["data checksum"] = checksum(digits.train);
    return pictures;
}

Pictures word_pictures(int batch, std::uint64_t seed, Spacing spacing) {
    const auto paint = [=](Spelling spelling) {
        return [words = std::make_shared<const Words>(spacing, seed, spelling)](
                   std::int64_t index, Tensor<float> canvas) {
            words->paint(words->word(index), canvas);
        };
    };
    const bool free = spacing == Spacing::free;
    return composed(free ? "free_words" : "words",
                    std::string("words, 64 x 64, ") + (free ? "anywhere" : "on a grid"), batch,
                    paint(Spelling::trained), paint(Spelling::held_out));
}

Pictures dataset_pictures(const std::string& kind, const std::string& data_dir, int batch,
                          std::uint64_t seed) {
    const auto split = std::make_shared<const Split>(find_split(kind, data_dir));
    const Dataset &train = split->train, &test = split->test;
    Pictures pictures{.name = train.name,
                      .source = train.source,
                      .height = train.height,
                      .width = train.width,
                      .channels = train.channels,
                      .identity = {{"data", train.name}, {"data checksum", checksum(train)}}};
    const Source source = picture_source(train, {.batch = batch, .flip = false, .seed = seed});
    pictures.train = [split, source](Arena& arena, std::int64_t step, int first, int count) {
        return source(arena, step, first, count);
    };
    pictures.held_out = [split, &test](std::int64_t first, int count) {
        Array<float> x({count, test.height, test.width, test.channels});
        for (int i = 0; i < count; ++i)
            decode(test, static_cast<int>((first + i) % test.count), false, x.tensor()[i]);
        return x;
    };
    return pictures;
}

}  // namespace

Pictures find_pictures(const std::string& kind, const std::string& data_dir, int batch,
                       std::uint64_t seed) {
    if (kind == "scenes") return scene_pictures(data_dir, batch, seed);
    if (kind == "words") return word_pictures(batch, seed, Spacing::grid);
    if (kind == "free_words") return word_pictures(batch, seed, Spacing::free);
    return dataset_pictures(kind, data_dir, batch, seed);
}

}  // namespace diffusion
