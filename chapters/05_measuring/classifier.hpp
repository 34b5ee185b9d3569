#pragma once
// The judge: a small convolutional network that learns to name what a picture shows. Its answers
// and its features are what the measures of this chapter look at.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "02_gradients/ops.hpp"
#include "04_unet/layers.hpp"
#include "04_unet/trainer.hpp"
#include "data/dataset.hpp"

namespace diffusion {

/// The mean over the pixels of each image: [N,H,W,C] to [N,C] (5.1).
template <class T>
Var<T> mean_pixels(Var<T> x);

class Classifier {
public:
    static constexpr int kFeatures = 64;

    Classifier(int channels, int classes);

    template <class T>
    struct Answer {
        Var<T> features;  ///< [N, kFeatures]
        Var<T> logits;    ///< [N, classes], before the softmax
    };
    /// x [N,H,W,channels], any size.
    template <class T>
    Answer<T> operator()(Var<T> x) const;

    const ParameterList& parameters() const { return list_; }

private:
    ParameterList list_;
    Conv2d in_;
    struct Block {
        GroupNorm norm;
        Conv2d conv;
    };
    std::vector<Block> blocks_;
    GroupNorm norm_;
    Linear out_;
};

/// Here, and not in classifier.cpp, so that measuring.cu can make it for numbers on a GPU.
template <class T>
Classifier::Answer<T> Classifier::operator()(Var<T> x) const {
    Var<T> h = in_(x);
    for (const Block& block : blocks_) h = block.conv(block.norm.silu(h));
    const Var<T> features = mean_pixels(silu(norm_(h)));
    return {features, out_(features)};
}

/// A classifier with what its use depends on.
struct TrainedClassifier {
    Classifier network;
    int height, width, channels, classes;
    std::string data;      ///< the name of the data set that it learned
    std::string checksum;  ///< of its pictures and labels
    std::int64_t images;   ///< that it saw
    std::string seed;      ///< from which it started
    Array<float> values;

    void save(const std::filesystem::path& path) const;
};

/// A classifier from its file. Fails, naming the file, on anything else.
TrainedClassifier load_classifier(const std::filesystem::path& path);

/// Passes over `data`, which needs labels; each picture is moved by up to two pixels each time.
/// Fails if Ctrl-C is pressed: nothing is kept then.
TrainedClassifier train_classifier(const Dataset& data, std::int64_t images, std::uint64_t seed);

/// What the classifier predicts for a set of pictures.
struct Predictions {
    Array<float> features;          ///< [N, kFeatures]
    std::vector<int> label;         ///< the most likely class of each
    std::vector<float> confidence;  ///< and its probability

    int count() const { return static_cast<int>(label.size()); }
    Tensor<const float> rows() const { return features.tensor(); }
};

/// The share of the pictures that are named as their labels say.
double accuracy(const Predictions& predictions, const Dataset& pictures);

/// Fails unless the pictures have the size and the channels that the classifier learned.
Predictions judge(TrainedClassifier& classifier, const Dataset& pictures);

}  // namespace diffusion
