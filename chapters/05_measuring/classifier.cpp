#include "05_measuring/classifier.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "02_gradients/ops.hpp"
#include "02_gradients/tape_pool.hpp"
#include "app/interrupt.hpp"
#include "app/progress.hpp"
#include "data/shuffle.hpp"
#include "kernels/threads.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

constexpr int kBatch = 64;
constexpr int kGroups = 8;     // of the norms
constexpr int kMostMoved = 2;  // pixels, each way
constexpr int kPiece = 32;     // pictures that one core judges at a time

/// Picture `index` of the data, moved by (down, right); what comes in is the pixel at the border.
void decode_moved(const Dataset& data, int index, int down, int right, Tensor<float> out) {
    const std::uint8_t* in =
        data.pixels.data() + static_cast<std::size_t>(index) * data.image_size();
    for (int y = 0; y < data.height; ++y) {
        for (int x = 0; x < data.width; ++x) {
            const int row = std::clamp(y - down, 0, data.height - 1),
                      column = std::clamp(x - right, 0, data.width - 1);
            for (int c = 0; c < data.channels; ++c) {
                const int at = (row * data.width + column) * data.channels + c;
                out(y, x, c) = from_byte(in[at]);
            }
        }
    }
}

/// The mean of -log p(label) over a batch, whose pictures come in shuffled passes.
Trainer::Loss naming_loss(const Classifier& network, const Dataset& data, std::uint64_t seed) {
    const auto shuffle = std::make_shared<Shuffle>(data.count, seed);
    return [&network, &data, seed, shuffle](Tape<float>& tape, std::int64_t step, int first,
                                            int count) {
        Arena& arena = tape.arena();
        const Tensor<float> x = arena.make<float>({count, data.height, data.width, data.channels});
        const std::span<int> labels = arena.make<int>({count}).flat();
        for (int i = 0; i < count; ++i) {
            const int index = shuffle->at(step * kBatch + first + i);
            Random random(seed, Purpose::augmentation, static_cast<std::uint32_t>(step),
                          static_cast<std::uint32_t>(first + i));
            const auto move = [&] {
                return static_cast<int>(random.below(2 * kMostMoved + 1)) - kMostMoved;
            };
            const int down = move(), right = move();
            decode_moved(data, index, down, right, x[i]);
            labels[static_cast<std::size_t>(i)] = data.labels[static_cast<std::size_t>(index)];
        }
        return cross_entropy(network(tape.constant(x)).logits, std::span<const int>(labels));
    };
}

}  // namespace

template <class T>
Var<T> mean_pixels(Var<T> x) {
    require(x.shape().rank == 4, "mean_pixels: x is ", x.shape(), ", expected [N,H,W,C]");
    const int images = x.size(0), pixels = pixels_of(x.shape()), channels = x.size(3);
    Var<T> y = x.tape().result({images, channels}, x);
    const T share = T(1) / static_cast<T>(pixels);
    for (int n = 0; n < images; ++n) {
        const Tensor<T> in = x.value()[n].rows(), out = y.value()[n];
        std::fill(out.begin(), out.end(), T(0));
        for (int p = 0; p < pixels; ++p) {
            // >>> exercise 5.1 points=1 hint="(5.1): add up share times each pixel"
            for (int c = 0; c < channels; ++c) out(c) += share * in(p, c);  // (5.1)
            // <<<
        }
    }
    x.tape().record(y, [=] {
        for (int n = 0; n < images; ++n) {
            const Tensor<T> dx = x.grad()[n].rows(), dy = y.grad()[n];
            for (int p = 0; p < pixels; ++p) {
                for (int c = 0; c < channels; ++c) dx(p, c) += share * dy(c);  // (5.1)
            }
        }
    });
    return y;
}

Classifier::Classifier(int channels, int classes) {
    in_ = Conv2d(list_, "in", channels, 16, 3);
    struct Size {
        int inputs, outputs, stride;
    };
    int i = 0;
    for (const Size s :
         {Size{16, 32, 2}, Size{32, 32, 1}, Size{32, 64, 2}, Size{64, kFeatures, 1}}) {
        const std::string name = "block" + std::to_string(i++);
        blocks_.push_back({GroupNorm(list_, name + ".norm", s.inputs, kGroups),
                           Conv2d(list_, name + ".conv", s.inputs, s.outputs, 3, s.stride)});
    }
    norm_ = GroupNorm(list_, "norm", kFeatures, kGroups);
    out_ = Linear(list_, "out", kFeatures, classes);
}

void TrainedClassifier::save(const std::filesystem::path& path) const {
    require_finite(network.parameters(), values.span(), path.string() + ": of the judge");
    Safetensors file{network.parameters().to_arrays<float>(values), {}};
    file.metadata = {{"model", "classifier"},
                     {"data", data},
                     {"checksum", checksum},
                     {"height", std::to_string(height)},
                     {"width", std::to_string(width)},
                     {"channels", std::to_string(channels)},
                     {"classes", std::to_string(classes)},
                     {"images", std::to_string(images)},
                     {"seed", seed}};
    write_safetensors(path, file);
}

TrainedClassifier load_classifier(const std::filesystem::path& path) {
    const SafetensorsFile file(path);
    const Metadata metadata(file, "classifier");
    const int height = metadata.number("height"), width = metadata.number("width"),
              channels = metadata.number("channels"), classes = metadata.number("classes"),
              images = metadata.number("images", 999'999'999);
    TrainedClassifier c{Classifier(channels, classes),
                        height,
                        width,
                        channels,
                        classes,
                        metadata.entry("data"),
                        metadata.entry("checksum"),
                        images,
                        metadata.entry("seed"),
                        {}};
    c.values = c.network.parameters().from_file<float>(file);
    return c;
}

TrainedClassifier train_classifier(const Dataset& data, std::int64_t images, std::uint64_t seed) {
    require(data.count > 0 && std::ssize(data.labels) == data.count, "the judge: ", data.source,
            " has no labels to learn from");
    const int classes = 1 + *std::ranges::max_element(data.labels);
    TrainedClassifier c{Classifier(data.channels, classes),
                        data.height,
                        data.width,
                        data.channels,
                        classes,
                        data.name,
                        checksum(data),
                        images,
                        std::to_string(seed),
                        {}};
    const std::int64_t steps = std::max<std::int64_t>(1, images / kBatch);
    Trainer trainer(c.network.parameters(), {.batch = kBatch,
                                             .steps = steps,
                                             .warmup = std::min<std::int64_t>(200, steps / 5),
                                             .seed = seed});
    const Trainer::Loss loss = naming_loss(c.network, data, seed);
    Progress progress("judge", steps * kBatch, "images");
    while (trainer.steps() < steps) {
        require(!interrupted(), "stopped while the judge was learning; nothing is kept");
        const Trainer::Report report = trainer.step(loss);
        char text[32];
        std::snprintf(text, sizeof text, "loss %.4f", report.loss);
        progress.update(trainer.steps() * kBatch, text);
    }
    progress.finish();
    c.values = trainer.average();
    return c;
}

double accuracy(const Predictions& predictions, const Dataset& pictures) {
    int right = 0;
    for (std::size_t i = 0; i < predictions.label.size(); ++i)
        right += predictions.label[i] == pictures.labels[i] ? 1 : 0;
    return static_cast<double>(right) / predictions.count();
}

Predictions judge(TrainedClassifier& classifier, const Dataset& pictures) {
    require(pictures.height == classifier.height && pictures.width == classifier.width &&
                pictures.channels == classifier.channels,
            pictures.source, ": the pictures are ", pictures.height, "x", pictures.width, "x",
            pictures.channels, ", the judge learned ", classifier.height, "x", classifier.width,
            "x", classifier.channels);
    const int n = pictures.count;
    Predictions predictions;
    predictions.features = Array<float>({n, Classifier::kFeatures});
    predictions.label.resize(static_cast<std::size_t>(n));
    predictions.confidence.resize(static_cast<std::size_t>(n));
    TapePool<float> tapes;
    parallel_for((n + kPiece - 1) / kPiece, thread_count(), [&](int piece) {
        const TapePool<float>::Lent lent(tapes);
        Tape<float>& tape = lent.tape();
        tape.bind(classifier.values.data());
        const int first = piece * kPiece, count = std::min(kPiece, n - first);
        const Tensor<float> x =
            tape.arena().make<float>({count, pictures.height, pictures.width, pictures.channels});
        for (int i = 0; i < count; ++i) decode(pictures, first + i, false, x[i]);
        const Classifier::Answer<float> answer = classifier.network(tape.constant(x));
        const Tensor<float> p = softmax(answer.logits).value(), f = answer.features.value();
        std::copy(f.begin(), f.end(), predictions.features.tensor()[first].data());
        for (int i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(first) + static_cast<std::size_t>(i);
            const float* most = std::max_element(p[i].begin(), p[i].end());
            predictions.label[at] = static_cast<int>(most - p[i].begin());
            predictions.confidence[at] = *most;
        }
    });
    return predictions;
}

#define DIFFUSION_INSTANTIATE(T)         \
    template Var<T> mean_pixels(Var<T>); \
    template Classifier::Answer<T> Classifier::operator()(Var<T>) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
