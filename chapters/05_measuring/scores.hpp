#pragma once
// The protocol: which numbers say how good a set of pictures is, and against what they are held.
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "05_measuring/classifier.hpp"
#include "05_measuring/frechet.hpp"
#include "05_measuring/kernel_distance.hpp"
#include "05_measuring/neighbours.hpp"
#include "data/dataset.hpp"

namespace diffusion {

/// What pictures are held against, made once for a data set.
struct Reference {
    TrainedClassifier classifier;
    Dataset train, test;
    Predictions of_train = {}, of_test = {};
    double accuracy = 0;     ///< share of the test pictures that are named rightly
    Gaussian gaussian = {};  ///< of the features of all training pictures
    // What the test for copies takes; see prepare_copy_test.
    Array<float> train_pixels = {};         ///< [train.count, pixels of a picture], in [-1, 1]
    std::vector<float> test_distance = {};  ///< of each test picture to the nearest training one
    std::vector<float> near = {};  ///< for each class: what is nearer is a near copy (5.15)
};

/// Told what is being done, for the one who waits.
using Stage = std::function<void(const std::string& text)>;

Reference make_reference(TrainedClassifier classifier, Dataset train, Dataset test,
                         const Stage& stage);

/// Finds every test picture's nearest training picture, and from those distances `near`. The first
/// call of score does it, too.
void prepare_copy_test(Reference& reference);

/// The nearest training pictures of some others. Call prepare_copy_test before.
Neighbours nearest_in_training(const Reference& reference, const Dataset& pictures);

/// (5.2) Share of the pictures of which the judge is sure: its probability is 0.9 or more.
double sure_share(const Predictions& predictions);

/// Where the true share lies, with 95 % confidence, if n trials gave this one (5.3) (Wilson 1927).
Interval share_interval(double share, int n);

/// e to the entropy of the shares of the classes (5.14): as many classes as there are if all are
/// equally frequent.
double effective_classes(const std::vector<int>& counts);

struct Scores {
    int n;
    double sure;  ///< share of the pictures of which the classifier is sure (5.2)
    Interval sure_interval;
    double frechet;
    Interval frechet_interval;
    KernelDistance kernel;
    PrecisionRecall cover;
    std::vector<int> classes;  ///< how many pictures of each class
    double effective_classes;
    double near_copies;  ///< share (5.15)
    Interval near_copies_interval;
    double closer;  ///< (5.16): the chance that one of them is nearer to the training pictures than
                    ///< one of the test pictures is
};

/// The fewest pictures that can be scored.
inline constexpr int kFewest = 100;

/// The mean Frechet distance of n points to the reference, over sets of the given points that do
/// not overlap: as many sets as there are, but eight at most. Of the test pictures' features it is
/// the floor: what any distance with the same n is held against.
double mean_frechet(const Gaussian& reference, Tensor<const float> features, int n,
                    std::uint64_t seed);

/// Scores all of `pictures`, with as many training pictures beside them where two sets are
/// compared. Fails on fewer than kFewest, on more than there are test pictures, and on another
/// size.
Scores score(Reference& reference, const Dataset& pictures, std::uint64_t seed, const Stage& stage);

/// n pictures of the data, chosen by the seed; the same ones for a larger n, and more.
Dataset choose(const Dataset& data, int n, std::uint64_t seed);

nlohmann::json to_json(const Scores& scores);

}  // namespace diffusion
