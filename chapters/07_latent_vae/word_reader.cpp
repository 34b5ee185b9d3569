#include "07_latent_vae/word_reader.hpp"

#include <algorithm>
#include <cmath>

#include "07_latent_vae/take_apart.hpp"
#include "data/painted.hpp"
#include "io/json.hpp"
#include "kernels/threads.hpp"

namespace diffusion {
namespace {

constexpr int kColumn = kCanvas / kGridLetters;  // pixels from one letter to the next
constexpr int kHeight = 32, kWidth = 20;         // of what is looked at for a letter
constexpr int kNothing = static_cast<int>(kAlphabet.size());

/// The columns of canvases as pictures for the classifier: their cover as bytes.
struct Columns {
    std::vector<Inked> inked;  ///< of the canvases
    Dataset covers;
};
Columns take_columns(Tensor<const float> canvases) {
    require_canvases(canvases);
    Columns columns;
    columns.inked.resize(static_cast<std::size_t>(canvases.size(0)));
    Dataset& covers = columns.covers;
    covers.name = covers.source = "columns";
    covers.count = canvases.size(0) * kGridLetters;
    covers.height = kHeight;
    covers.width = kWidth;
    covers.channels = 1;
    covers.pixels.resize(static_cast<std::size_t>(covers.count) * covers.image_size());
    parallel_for(canvases.size(0), thread_count(), [&](int n) {
        Inked& inked = columns.inked[static_cast<std::size_t>(n)];
        inked = take_apart(canvases[n]);
        const Tensor<const float> cover = inked.cover.tensor();
        for (int i = 0; i < kGridLetters; ++i) {
            std::uint8_t* to = covers.pixels.data() +
                               static_cast<std::size_t>(n * kGridLetters + i) * covers.image_size();
            const int top = (kCanvas - kHeight) / 2, left = kColumn * i - (kWidth - kColumn) / 2;
            for (int y = 0; y < kHeight; ++y)
                for (int x = 0; x < kWidth; ++x) {
                    const int column = left + x;
                    const bool inside = column >= 0 && column < kCanvas;
                    *to++ =
                        inside
                            ? static_cast<std::uint8_t>(std::lround(255 * cover(top + y, column)))
                            : std::uint8_t{0};
                }
        }
    });
    return columns;
}

}  // namespace

WordReader WordReader::train(const Words& words, std::int64_t images, std::uint64_t seed) {
    require(words.spacing() == Spacing::grid, "reader of words: it learns from words on the grid");
    constexpr int kCanvases = 20'000, kAtOnce = 500;
    Dataset columns;
    for (int first = 0; first < kCanvases; first += kAtOnce) {
        const Painted<Word> painted = paint_canvases(words, first, kAtOnce);
        const Dataset part = take_columns(painted.canvases.tensor()).covers;
        columns.height = part.height;
        columns.width = part.width;
        columns.channels = part.channels;
        columns.count += part.count;
        columns.pixels.insert(columns.pixels.end(), part.pixels.begin(), part.pixels.end());
        for (const Word& word : painted.truth)
            for (std::size_t i = 0; i < kGridLetters; ++i)
                columns.labels.push_back(static_cast<std::uint8_t>(
                    i < word.text.size() ? kAlphabet.find(word.text[i]) : std::size_t{kNothing}));
    }
    columns.name = columns.source = "words";
    return WordReader(train_classifier(columns, images, seed));
}

std::vector<ReadWord> WordReader::read(Tensor<const float> canvases) {
    const Columns columns = take_columns(canvases);
    const Predictions named = judge(classifier_, columns.covers);
    std::vector<ReadWord> words(static_cast<std::size_t>(canvases.size(0)));
    for (std::size_t n = 0; n < words.size(); ++n) {
        ReadWord& word = words[n];
        word.ground = nearest_colour(columns.inked[n].ground);
        word.colour = nearest_colour(columns.inked[n].rgb);
        word.confidence = 1;
        for (std::size_t i = 0; i < kGridLetters; ++i) {
            const int label = named.label[kGridLetters * n + i];
            word.text += label == kNothing ? ' ' : kAlphabet[static_cast<std::size_t>(label)];
            word.confidence *= named.confidence[kGridLetters * n + i];
        }
        word.text.erase(word.text.find_last_not_of(' ') + 1);
    }
    return words;
}

bool WordReader::has_learned(std::int64_t images, std::uint64_t seed) const {
    return classifier_.images >= images && classifier_.seed == std::to_string(seed);
}

WordReader WordReader::load(const std::filesystem::path& path) {
    TrainedClassifier classifier = load_classifier(path);
    require(classifier.data == "words" && classifier.height == kHeight &&
                classifier.width == kWidth && classifier.classes == kNothing + 1,
            path.string(), ": a judge of ", in_quotes(classifier.data), ", no reader of words");
    return WordReader(std::move(classifier));
}

WordAgreement agreement(const std::vector<Word>& painted, const std::vector<ReadWord>& read) {
    require(painted.size() == read.size() && !painted.empty(), "agreement: ", painted.size(),
            " words were painted, ", read.size(), " read");
    WordAgreement right;
    double letters = 0;
    for (std::size_t n = 0; n < painted.size(); ++n) {
        right.words += painted[n].text == read[n].text ? 1 : 0;
        right.colour += painted[n].colour == read[n].colour ? 1 : 0;
        right.ground += painted[n].ground == read[n].ground ? 1 : 0;
        for (std::size_t i = 0; i < painted[n].text.size(); ++i) {
            right.letters +=
                i < read[n].text.size() && painted[n].text[i] == read[n].text[i] ? 1 : 0;
            ++letters;
        }
    }
    right.letters /= letters;
    for (double* share : {&right.words, &right.colour, &right.ground})
        *share /= static_cast<double>(painted.size());
    return right;
}

}  // namespace diffusion
