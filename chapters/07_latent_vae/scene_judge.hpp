#pragma once
// Reading canvases: colours, places, sizes and slants are measured from the pixels, and what a
// thing is says chapter 5's classifier. A caption's claims can so be checked one by one.
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "05_measuring/classifier.hpp"
#include "data/scenes.hpp"

namespace diffusion {

/// What is read of a thing, as far as it was painted.
struct ReadThing {
    int thing = 0, colour = 0;
    Size size = Size::small;
    Lean lean = Lean::none;
    bool thick = false;    ///< thicker than most of its kind
    float confidence = 0;  ///< that it is this thing: a probability
};
struct ReadScene {
    int ground = 0;
    std::array<std::optional<ReadThing>, 4> things;  ///< by Place
};

class SceneJudge {
public:
    /// Learns to name the things of some scenes, in `images` pictures of quarters.
    static SceneJudge train(const Scenes& scenes, std::int64_t images, std::uint64_t seed);

    /// canvases [N,64,64,3].
    std::vector<ReadScene> read(Tensor<const float> canvases);
    /// What a distance between sets of canvases looks at, [N, kFeatures]: of each quarter the
    /// classifier's features of its cover and the colour of its ink, and the ground's colour.
    static constexpr int kFeatures = 4 * (Classifier::kFeatures + 3) + 3;
    Array<float> features(Tensor<const float> canvases);

    /// Whether it has learned as a call of `train` would teach it, or longer.
    bool has_learned(const Scenes& scenes, std::int64_t images, std::uint64_t seed) const;
    void save(const std::filesystem::path& path) const;
    static SceneJudge load(const std::filesystem::path& path);

private:
    SceneJudge() = default;
    /// Measured on quarters: of each thing the slant of an upright one, and of each thing and size
    /// the thickness that half of them exceed.
    std::vector<double> slant_, thickness_;
    std::optional<TrainedClassifier> classifier_;
};

/// How often what was read is what was painted, attribute by attribute. Weights are asked only of
/// things that are said to be thin or thick.
struct SceneAgreement {
    double place = 0;  ///< of all quarters: whether something is there
    double thing = 0, colour = 0, size = 0, lean = 0, weight = 0;  ///< of things that are there
    double ground = 0;                                             ///< of canvases
    double all = 0;  ///< of canvases: everything right
};
SceneAgreement agreement(const std::vector<Scene>& painted, const std::vector<ReadScene>& read);

}  // namespace diffusion
