#include "07_latent_vae/pictures.hpp"

#include <memory>
#include <utility>

#include "data/emoji.hpp"
#include "data/find.hpp"
#include "data/painted.hpp"
#include "data/scenes.hpp"
#include "data/words.hpp"

namespace diffusion {
namespace {

/// Canvases that Scenes or Words compose, as they are needed.
template <class Composer>
Pictures composed(std::string name, std::string source, int batch, Composer to_train,
                  Composer to_hold_out) {
    const auto train = std::make_shared<const Composer>(std::move(to_train)),
               held_out = std::make_shared<const Composer>(std::move(to_hold_out));
    Pictures pictures;
    pictures.name = std::move(name);
    pictures.source = std::move(source);
    pictures.height = pictures.width = kCanvas;
    pictures.channels = 3;
    pictures.identity = {{"data", pictures.name}};
    pictures.train = [batch, train](Arena& arena, std::int64_t step, int first, int count) {
        Batch part;
        part.x0 = arena.make<float>({count, kCanvas, kCanvas, 3});
        for (int i = 0; i < count; ++i)
            train->paint(train->at(step * batch + first + i), part.x0[i]);
        return part;
    };
    pictures.learned = [train](std::int64_t first, int count) {
        return paint_canvases(*train, first, count).canvases;
    };
    pictures.held_out = [held_out](std::int64_t first, int count) {
        return paint_canvases(*held_out, first, count).canvases;
    };
    pictures.caption = [train](std::int64_t i) { return train->caption(train->at(i), i); };
    return pictures;
}

Pictures scene_pictures(const std::string& data_dir, int batch, std::uint64_t seed) {
    const Split digits = find_split("mnist", data_dir);
    const SpriteSet sprites = digit_sprites(digits.train);
    Pictures pictures =
        composed("scenes", "scenes, 64 x 64, of the digits of " + sprites.source, batch,
                 Scenes(sprites, seed), Scenes(digit_sprites(digits.test), ~seed));
    pictures.identity["data checksum"] = sprites.checksum;
    return pictures;
}

Pictures emoji_pictures(const std::string& data_dir, int batch, std::uint64_t seed) {
    const SpriteSet emoji = emoji_sprites(find_emoji(data_dir));
    Pictures pictures = composed("emoji", "scenes, 64 x 64, of " + emoji.source, batch,
                                 Scenes(emoji, seed), Scenes(emoji, ~seed));
    pictures.identity["data checksum"] = emoji.checksum;
    const auto unseen = std::make_shared<const Scenes>(emoji, seed, Canvases::unseen);
    pictures.unseen = [unseen](std::int64_t first, int count) {
        return paint_canvases(*unseen, first, count).canvases;
    };
    return pictures;
}

Pictures word_pictures(int batch, std::uint64_t seed, Spacing spacing) {
    const bool free = spacing == Spacing::free;
    return composed(free ? "free_words" : "words",
                    std::string("words, 64 x 64, ") + (free ? "anywhere" : "on a grid"), batch,
                    Words(spacing, seed, Spelling::trained),
                    Words(spacing, seed, Spelling::held_out));
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
                      .count = train.count,
                      .identity = {{"data", train.name}, {"data checksum", checksum(train)}}};
    const Source source = picture_source(train, {.batch = batch, .flip = false, .seed = seed});
    pictures.train = [split, source](Arena& arena, std::int64_t step, int first, int count) {
        return source(arena, step, first, count);
    };
    const auto of = [split](const Dataset& set) {
        return [split, &set](std::int64_t first, int count) {
            Array<float> x({count, set.height, set.width, set.channels});
            for (int i = 0; i < count; ++i)
                decode(set, static_cast<int>((first + i) % set.count), false, x.tensor()[i]);
            return x;
        };
    };
    pictures.learned = of(train);
    pictures.held_out = of(test);
    if (train.name == "folder") pictures.others = "pictures of the training set";
    if (!train.captions.empty())
        pictures.caption = [split](std::int64_t i) {
            return split->train.captions[static_cast<std::size_t>(i % split->train.count)];
        };
    return pictures;
}

}  // namespace

Pictures find_pictures(const std::string& kind, const std::string& data_dir, int batch,
                       std::uint64_t seed) {
    if (kind == "scenes") return scene_pictures(data_dir, batch, seed);
    if (kind == "emoji") return emoji_pictures(data_dir, batch, seed);
    if (kind == "words") return word_pictures(batch, seed, Spacing::grid);
    if (kind == "free_words") return word_pictures(batch, seed, Spacing::free);
    return dataset_pictures(kind, data_dir, batch, seed);
}

}  // namespace diffusion
