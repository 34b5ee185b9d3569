#include "07_latent_vae/scene_judge.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "07_latent_vae/take_apart.hpp"
#include "data/painted.hpp"
#include "io/safetensors.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

constexpr int kQuarter = kCanvas / 2, kQuarters = 4;
constexpr double kLeaning = 0.19;  ///< between upright and leaning, as a tangent
constexpr int kLargest = 20;       ///< rows of a small thing, at most

/// Quarter `place` of a canvas, [32,32,3].
Array<float> quarter_of(Tensor<const float> canvas, int place) {
    Array<float> quarter(Shape{kQuarter, kQuarter, 3});
    for (int y = 0; y < kQuarter; ++y)
        std::copy_n(&canvas(y + place / 2 * kQuarter, place % 2 * kQuarter, 0), 3 * kQuarter,
                    quarter.data() + 3 * kQuarter * y);
    return quarter;
}

/// The quarters of canvases, taken apart, as pictures for the classifier: their covers as bytes.
struct Quarters {
    std::vector<Inked> inked;
    Dataset covers;
};
Quarters take_quarters(Tensor<const float> canvases) {
    require_canvases(canvases);
    const int count = canvases.size(0) * kQuarters;
    Quarters quarters;
    quarters.inked.resize(static_cast<std::size_t>(count));
    Dataset& covers = quarters.covers;
    covers.name = covers.source = "quarters";
    covers.count = count;
    covers.height = covers.width = kQuarter;
    covers.channels = 1;
    covers.pixels.resize(static_cast<std::size_t>(count) * covers.image_size());
    parallel_for(canvases.size(0), thread_count(), [&](int n) {
        const std::array<float, 3> ground = take_apart(canvases[n]).ground;
        for (int place = 0; place < kQuarters; ++place) {
            const auto i = static_cast<std::size_t>(n * kQuarters + place);
            Inked& inked = quarters.inked[i];
            inked = take_apart(quarter_of(canvases[n], place).tensor());
            if (!is_near(inked.ground, ground)) inked.empty = true;
            std::uint8_t* bytes = covers.pixels.data() + i * covers.image_size();
            for (std::size_t p = 0; p < covers.image_size(); ++p)
                bytes[p] = static_cast<std::uint8_t>(std::lround(255 * inked.cover.data()[p]));
        }
    });
    return quarters;
}

/// Rows from the first to the last with ink.
int height_of(Tensor<const float> cover) {
    int first = cover.size(0), last = -1;
    for (int y = 0; y < cover.size(0); ++y) {
        if (*std::max_element(cover[y].begin(), cover[y].end()) < 0.5f) continue;
        first = std::min(first, y);
        last = y;
    }
    return std::max(0, last - first + 1);
}

/// Where a thing's measures of one size stand.
std::size_t by_size(std::size_t kind, Size size) {
    return 2 * kind + (size == Size::large ? 1 : 0);
}

double median(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + std::ssize(values) / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace

SceneJudge SceneJudge::train(const Scenes& scenes, std::int64_t images, std::uint64_t seed) {
    constexpr int kCanvases = 20'000, kAtOnce = 500;  // about two things each
    require(!scenes.sprites().coloured, "scene judge: it reads digits, not ",
            scenes.sprites().source);
    const std::size_t kinds = scenes.sprites().things.size();
    // Of the quarters those with a thing, and of each kind what is measured on them.
    Dataset things;
    std::vector<std::vector<double>> slants(kinds), thicknesses(2 * kinds);
    Painted<Scene> painted;
    Quarters quarters;
    const auto take_things = [&](std::size_t n) {  // of canvas n of those painted
        for (const Thing& thing : painted.truth[n].things) {
            const std::size_t i = kQuarters * n + static_cast<std::size_t>(thing.place);
            const auto kind = static_cast<std::size_t>(thing.thing);
            const std::uint8_t* bytes =
                quarters.covers.pixels.data() + i * quarters.covers.image_size();
            things.pixels.insert(things.pixels.end(), bytes, bytes + quarters.covers.image_size());
            things.labels.push_back(static_cast<std::uint8_t>(kind));
            const Tensor<const float> cover = quarters.inked[i].cover.tensor();
            if (thing.lean == Lean::none) slants[kind].push_back(slant_of(cover));
            thicknesses[by_size(kind, thing.size)].push_back(thickness_of(cover));
        }
    };
    for (int first = 0; first < kCanvases; first += kAtOnce) {
        painted = paint_canvases(scenes, first, kAtOnce);
        quarters = take_quarters(painted.canvases.tensor());
        things.height = quarters.covers.height;
        things.width = quarters.covers.width;
        things.channels = quarters.covers.channels;
        for (std::size_t n = 0; n < painted.truth.size(); ++n) take_things(n);
    }
    things.name = things.source = "scenes";
    things.count = static_cast<int>(things.labels.size());
    SceneJudge judge;
    for (const std::vector<double>& values : slants) judge.slant_.push_back(median(values));
    for (const std::vector<double>& values : thicknesses)
        judge.thickness_.push_back(median(values));
    judge.classifier_ = train_classifier(things, images, seed);
    judge.classifier_->checksum = scenes.sprites().checksum;
    return judge;
}

bool SceneJudge::has_learned(const Scenes& scenes, std::int64_t images, std::uint64_t seed) const {
    return classifier_->images >= images && classifier_->seed == std::to_string(seed) &&
           classifier_->checksum == scenes.sprites().checksum;
}

std::vector<ReadScene> SceneJudge::read(Tensor<const float> canvases) {
    const Quarters quarters = take_quarters(canvases);
    const Predictions named = judge(*classifier_, quarters.covers);
    std::vector<ReadScene> scenes(static_cast<std::size_t>(canvases.size(0)));
    for (std::size_t n = 0; n < scenes.size(); ++n) {
        scenes[n].ground = nearest_colour(take_apart(canvases[static_cast<int>(n)]).ground);
        for (std::size_t place = 0; place < kQuarters; ++place) {
            const std::size_t i = kQuarters * n + place;
            const Inked& inked = quarters.inked[i];
            if (inked.empty) continue;
            ReadThing thing;
            thing.thing = named.label[i];
            thing.confidence = named.confidence[i];
            thing.colour = nearest_colour(inked.rgb);
            const Tensor<const float> cover = inked.cover.tensor();
            const auto kind = static_cast<std::size_t>(thing.thing);
            const double slant = slant_of(cover) - slant_[kind];
            thing.size = height_of(cover) > kLargest ? Size::large : Size::small;
            thing.lean = slant > kLeaning    ? Lean::right
                         : slant < -kLeaning ? Lean::left
                                             : Lean::none;
            thing.thick = thickness_of(cover) > thickness_[by_size(kind, thing.size)];
            scenes[n].things[place] = thing;
        }
    }
    return scenes;
}

Array<float> SceneJudge::features(Tensor<const float> canvases) {
    const Quarters quarters = take_quarters(canvases);
    const Predictions named = judge(*classifier_, quarters.covers);
    Array<float> features({canvases.size(0), kFeatures});
    for (int n = 0; n < canvases.size(0); ++n) {
        float* to = features.tensor()[n].data();
        for (int i = kQuarters * n; i < kQuarters * (n + 1); ++i) {
            to = std::copy_n(named.rows()[i].data(), Classifier::kFeatures, to);
            const Inked& inked = quarters.inked[static_cast<std::size_t>(i)];
            for (std::size_t c = 0; c < 3; ++c) *to++ = inked.empty ? 0 : inked.rgb[c];
        }
        std::ranges::copy(take_apart(canvases[n]).ground, to);
    }
    return features;
}

void SceneJudge::save(const std::filesystem::path& path) const {
    const TrainedClassifier& c = *classifier_;
    Safetensors file{c.network.parameters().to_arrays<float>(c.values), {}};
    const auto numbers = [&](const char* name, const std::vector<double>& values) {
        file.arrays.push_back(
            {name, {static_cast<int>(values.size())}, {values.begin(), values.end()}});
    };
    numbers("measured.slant", slant_);
    numbers("measured.thickness", thickness_);
    file.metadata = {{"model", "scene judge"},
                     {"data", c.data},
                     {"checksum", c.checksum},
                     {"images", std::to_string(c.images)},
                     {"seed", c.seed}};
    write_safetensors(path, file);
}

SceneJudge SceneJudge::load(const std::filesystem::path& path) {
    const SafetensorsFile file(path);
    const Metadata metadata(file, "scene judge");
    SceneJudge judge;
    const auto numbers = [&](const char* name) {
        const StoredTensor* tensor = file.find(name);
        require(tensor != nullptr && tensor->shape.size() == 1, path.string(), ": no ", name);
        std::vector<double> values(tensor->count);
        file.read<double>(*tensor, 0, values);
        return values;
    };
    judge.slant_ = numbers("measured.slant");
    judge.thickness_ = numbers("measured.thickness");
    const auto kinds = static_cast<int>(judge.slant_.size());
    require(kinds > 0 && judge.thickness_.size() == 2 * judge.slant_.size(), path.string(),
            ": measures of ", kinds, " and ", judge.thickness_.size(), " things");
    TrainedClassifier c{Classifier(1, kinds),
                        kQuarter,
                        kQuarter,
                        1,
                        kinds,
                        metadata.entry("data"),
                        metadata.entry("checksum"),
                        metadata.number("images", 999'999'999),
                        metadata.entry("seed"),
                        {}};
    c.values = c.network.parameters().from_file<float>(file, {.only = false});
    judge.classifier_ = std::move(c);
    return judge;
}

SceneAgreement agreement(const std::vector<Scene>& painted, const std::vector<ReadScene>& read) {
    require(painted.size() == read.size() && !painted.empty(), "agreement: ", painted.size(),
            " scenes were painted, ", read.size(), " read");
    SceneAgreement right;
    double things = 0, weights = 0;
    for (std::size_t n = 0; n < painted.size(); ++n) {
        const bool ground = read[n].ground == painted[n].ground;
        right.ground += ground;
        std::array<const Thing*, kQuarters> there{};
        for (const Thing& thing : painted[n].things)
            there[static_cast<std::size_t>(thing.place)] = &thing;
        bool all = ground;
        for (std::size_t place = 0; place < kQuarters; ++place) {
            const Thing* thing = there[place];
            const std::optional<ReadThing>& found = read[n].things[place];
            const bool placed = found.has_value() == (thing != nullptr);
            right.place += placed;
            all = all && placed;
            if (thing == nullptr) continue;
            ++things;
            const ReadThing& as = found ? *found : ReadThing{-1, -1};
            const bool named = as.thing == thing->thing, coloured = as.colour == thing->colour,
                       sized = found && as.size == thing->size,
                       leant = found && as.lean == thing->lean;
            right.thing += named;
            right.colour += coloured;
            right.size += sized;
            right.lean += leant;
            all = all && named && coloured && sized && leant;
            if (thing->weight == Weight::none) continue;
            ++weights;
            const bool weighed = found && as.thick == (thing->weight == Weight::thick);
            right.weight += weighed;
            all = all && weighed;
        }
        right.all += all;
    }
    const auto canvases = static_cast<double>(painted.size());
    right.place /= kQuarters * canvases;
    for (double* share : {&right.thing, &right.colour, &right.size, &right.lean})
        *share /= std::max(1.0, things);
    right.weight /= std::max(1.0, weights);
    right.ground /= canvases;
    right.all /= canvases;
    return right;
}

}  // namespace diffusion
