#include "07_latent_vae/pictures.hpp"

#include <memory>
#include <utility>

#include "data/emoji.hpp"
#include "data/find.hpp"
#include "data/scenes.hpp"
#include "data/words.hpp"

namespace diffusion {
namespace {

/// What makes the canvases of a kind, as they are needed.
struct Composer {
    std::function<void(std::int64_t index, Tensor<float> canvas)> paint;
    std::function<std::string(std::int64_t index)> caption;

    Array<float> painted(std::int64_t first, int count) const {
        Array<float> canvases({count, kCanvas, kCanvas, 3});
        for (int i = 0; i < count; ++i) paint(first + i, canvases.tensor()[i]);
        return canvases;
    }
};

Composer composer_of(SpriteSet sprites, std::uint64_t seed, Canvases which = Canvases::trained) {
    const auto scenes = std::make_shared<const Scenes>(std::move(sprites), seed, which);
    return {
        [scenes](std::int64_t i, Tensor<float> canvas) { scenes->paint(scenes->scene(i), canvas); },
        [scenes](std::int64_t i) { return scenes->caption(scenes->scene(i), i); }};
}

Composer composer_of(Spacing spacing, std::uint64_t seed, Spelling spelling) {
    const auto words = std::make_shared<const Words>(spacing, seed, spelling);
    return {[words](std::int64_t i, Tensor<float> canvas) { words->paint(words->word(i), canvas); },
            [words](std::int64_t i) { return words->caption(words->word(i), i); }};
}

Pictures composed(std::string name, std::string source, int batch, const Composer& train,
                  const Composer& held_out) {
    Pictures pictures;
    pictures.name = std::move(name);
    pictures.source = std::move(source);
    pictures.height = pictures.width = kCanvas;
    pictures.channels = 3;
    pictures.identity = {{"data", pictures.name}};
    pictures.train = [batch, train](Arena& arena, std::int64_t step, int first, int count) {
        Batch part;
        part.x0 = arena.make<float>({count, kCanvas, kCanvas, 3});
        for (int i = 0; i < count; ++i) train.paint(step * batch + first + i, part.x0[i]);
        return part;
    };
    const auto painted = [](const Composer& by) {
        return [by](std::int64_t first, int count) { return by.painted(first, count); };
    };
    pictures.learned = painted(train);
    pictures.held_out = painted(held_out);
    pictures.caption = train.caption;
    return pictures;
}

Pictures scene_pictures(const std::string& data_dir, int batch, std::uint64_t seed) {
    const Split digits = find_split("mnist", data_dir);
    const SpriteSet sprites = digit_sprites(digits.train);
    Pictures pictures =
        composed("scenes", "scenes, 64 x 64, of the digits of " + sprites.source, batch,
                 composer_of(sprites, seed), composer_of(digit_sprites(digits.test), ~seed));
    pictures.identity["data checksum"] = sprites.checksum;
    return pictures;
}

Pictures emoji_pictures(const std::string& data_dir, int batch, std::uint64_t seed) {
    const SpriteSet emoji = emoji_sprites(find_emoji(data_dir));
    Pictures pictures = composed("emoji", "scenes, 64 x 64, of " + emoji.source, batch,
                                 composer_of(emoji, seed), composer_of(emoji, ~seed));
    pictures.identity["data checksum"] = emoji.checksum;
    pictures.unseen = [unseen = composer_of(emoji, seed, Canvases::unseen)](
                          std::int64_t first, int count) { return unseen.painted(first, count); };
    return pictures;
}

Pictures word_pictures(int batch, std::uint64_t seed, Spacing spacing) {
    const bool free = spacing == Spacing::free;
    return composed(free ? "free_words" : "words",
                    std::string("words, 64 x 64, ") + (free ? "anywhere" : "on a grid"), batch,
                    composer_of(spacing, seed, Spelling::trained),
                    composer_of(spacing, seed, Spelling::held_out));
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
