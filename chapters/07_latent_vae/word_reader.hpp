#pragma once
// A reader of words on the grid: each column of a canvas is a letter or nothing.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "05_measuring/classifier.hpp"
#include "data/words.hpp"

namespace diffusion {

struct ReadWord {
    std::string text;            ///< a space for a column with nothing between two letters
    int colour = 0, ground = 0;  ///< indices into kColours
    float confidence = 0;        ///< that all columns are these: a product of probabilities
};

class WordReader {
public:
    /// Learns the letters of some words on the grid, in `images` pictures of columns.
    static WordReader train(const Words& words, std::int64_t images, std::uint64_t seed);

    /// canvases [N,64,64,3].
    std::vector<ReadWord> read(Tensor<const float> canvases);

    /// Whether it has learned as a call of `train` would teach it, or longer.
    bool has_learned(std::int64_t images, std::uint64_t seed) const;
    void save(const std::filesystem::path& path) const { classifier_.save(path); }
    static WordReader load(const std::filesystem::path& path);

private:
    explicit WordReader(TrainedClassifier classifier) : classifier_(std::move(classifier)) {}
    TrainedClassifier classifier_;
};

/// How often what was read is what was painted: words, their letters at their places, colours.
struct WordAgreement {
    double words = 0, letters = 0, colour = 0, ground = 0;
};
WordAgreement agreement(const std::vector<Word>& painted, const std::vector<ReadWord>& read);

}  // namespace diffusion
