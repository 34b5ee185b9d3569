#include "05_measuring/scores.hpp"

#include <algorithm>
#include <cmath>

#include "data/shuffle.hpp"

namespace diffusion {
namespace {

constexpr float kSure = 0.9f;
constexpr double kNearShare =
    0.01;  // of the test pictures of a class are called near copies (5.15)

/// Pictures as rows of numbers in [-1, 1].
Array<float> pixels_of(const Dataset& data) {
    Array<float> pixels({data.count, static_cast<int>(data.image_size())});
    std::ranges::transform(data.pixels, pixels.begin(), from_byte);
    return pixels;
}

/// Rows pick(0) .. pick(n - 1) of x.
template <class Pick>
Array<float> rows_of(Tensor<const float> x, int n, Pick pick) {
    Array<float> rows({n, x.size(1)});
    for (int i = 0; i < n; ++i) std::ranges::copy(x[pick(i)], rows.tensor()[i].begin());
    return rows;
}

template <class F>
double share(int n, F holds) {
    int count = 0;
    for (int i = 0; i < n; ++i) count += holds(static_cast<std::size_t>(i)) ? 1 : 0;
    return static_cast<double>(count) / n;
}

}  // namespace

Interval share_interval(double share, int n) {
    constexpr double z = 1.959964;
    // >>> exercise 5.5 points=2 hint="(5.3): solve for the true share"
    const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
    const double half =
        z / (1 + z * z / n) * std::sqrt(share * (1 - share) / n + z * z / (4.0 * n * n));
    return {centre - half, centre + half};  // (5.3)
    // <<<
}

double sure_share(const Predictions& predictions) {
    return share(predictions.count(),
                 [&](std::size_t i) { return predictions.confidence[i] >= kSure; });  // (5.2)
}

double effective_classes(const std::vector<int>& counts) {
    double total = 0, entropy = 0;
    for (const int c : counts) total += c;
    for (const int c : counts) {
        if (c > 0) entropy -= c / total * std::log(c / total);
    }
    return std::exp(entropy);  // (5.14)
}

Dataset choose(const Dataset& data, int n, std::uint64_t seed) {
    require(n <= data.count, data.source, ": ", n, " pictures are wanted");
    Dataset some{data.name, data.source, n, data.height, data.width, data.channels, {}, {}};
    Shuffle shuffle(data.count, seed);
    const auto size = static_cast<std::ptrdiff_t>(data.image_size());
    for (int i = 0; i < n; ++i) {
        const int picture = shuffle.at(i);
        const auto from = data.pixels.begin() + picture * size;
        some.pixels.insert(some.pixels.end(), from, from + size);
        if (!data.labels.empty())
            some.labels.push_back(data.labels[static_cast<std::size_t>(picture)]);
    }
    return some;
}

Neighbours nearest_in_training(const Reference& r, const Dataset& pictures) {
    const Array<float> pixels = pixels_of(pictures);
    Neighbours found = nearest_neighbours(pixels, r.train_pixels, 1);
    const float root = std::sqrt(static_cast<float>(pictures.image_size()));
    for (float& d : found.distance) d /= root;  // root mean square over the pixels
    return found;
}

Reference make_reference(TrainedClassifier classifier, Dataset train, Dataset test,
                         const Stage& stage) {
    Reference r{std::move(classifier), std::move(train), std::move(test)};
    stage("features of " + std::to_string(r.train.count) + " training pictures");
    r.of_train = judge(r.classifier, r.train);
    r.gaussian = fit_gaussian(r.of_train.rows());
    stage("features of " + std::to_string(r.test.count) + " test pictures");
    r.of_test = judge(r.classifier, r.test);
    r.accuracy = accuracy(r.of_test, r.test);
    return r;
}

void prepare_copy_test(Reference& r) {
    if (!r.near.empty()) return;
    r.train_pixels = pixels_of(r.train);
    r.test_distance = nearest_in_training(r, r.test).distance;
    const auto quantile = [](std::vector<float> of) {
        std::ranges::sort(of);
        return of[static_cast<std::size_t>(kNearShare * static_cast<double>(of.size()))];
    };
    for (int k = 0; k < r.classifier.classes; ++k) {
        std::vector<float> of_class;
        for (std::size_t i = 0; i < r.test_distance.size(); ++i) {
            if (r.of_test.label[i] == k) of_class.push_back(r.test_distance[i]);
        }
        // A class with few test pictures has no such quantile of its own.
        r.near.push_back(quantile(of_class.size() < 100 ? r.test_distance : of_class));  // (5.15)
    }
}

double mean_frechet(const Gaussian& reference, Tensor<const float> features, int n,
                    std::uint64_t seed) {
    const int sets = std::min(8, features.size(0) / n);
    Shuffle shuffle(features.size(0), seed);
    double sum = 0;
    for (int s = 0; s < sets; ++s) {
        const Array<float> some =
            rows_of(features, n, [&](int i) { return shuffle.at(s * n + i); });
        sum += frechet_distance(reference, fit_gaussian(some));
    }
    return sum / sets;
}

Scores score(Reference& r, const Dataset& pictures, std::uint64_t seed, const Stage& stage) {
    require(pictures.count >= kFewest, pictures.source, ": ", pictures.count,
            " pictures, expected at least ", kFewest);
    require(pictures.count <= r.test.count, pictures.source, ": ", pictures.count,
            " pictures, but there are only ", r.test.count, " test pictures to compare with");
    const int n = pictures.count;
    stage("features of " + std::to_string(n) + " pictures");
    const Predictions predictions = judge(r.classifier, pictures);
    const auto of_samples = predictions.rows();
    Scores s{};
    s.n = n;
    s.sure = sure_share(predictions);
    s.sure_interval = share_interval(s.sure, n);
    stage("Frechet distance");
    s.frechet = frechet_distance(r.gaussian, fit_gaussian(of_samples));
    s.frechet_interval = frechet_interval(of_samples, r.gaussian, s.frechet, seed);
    stage("kernel distance, precision and recall");
    // As many real pictures as samples.
    Shuffle shuffle(r.train.count, seed);
    const Array<float> real = rows_of(r.of_train.rows(), std::min(n, r.train.count),
                                      [&](int i) { return shuffle.at(i); });
    s.kernel = kernel_distance(of_samples, real);
    s.cover = precision_recall(of_samples, real);
    s.classes.resize(static_cast<std::size_t>(r.classifier.classes));
    for (const int label : predictions.label) ++s.classes[static_cast<std::size_t>(label)];
    s.effective_classes = effective_classes(s.classes);
    stage("nearest training pictures");
    prepare_copy_test(r);
    const std::vector<float> distance = nearest_in_training(r, pictures).distance;
    s.near_copies = share(n, [&](std::size_t i) {
        return distance[i] < r.near[static_cast<std::size_t>(predictions.label[i])];
    });  // (5.15)
    s.near_copies_interval = share_interval(s.near_copies, n);
    std::vector<float> sorted = r.test_distance;
    std::ranges::sort(sorted);
    double closer = 0;
    for (const float d : distance) {  // (5.16)
        const auto [from, to] = std::equal_range(sorted.begin(), sorted.end(), d);
        closer += (static_cast<double>(sorted.end() - to) + 0.5 * static_cast<double>(to - from)) /
                  static_cast<double>(sorted.size());
    }
    s.closer = closer / n;
    return s;
}

nlohmann::json to_json(const Scores& s) {
    const auto interval = [](Interval i) { return nlohmann::json{i.low, i.high}; };
    return {{"n", s.n},
            {"sure", s.sure},
            {"sure_interval", interval(s.sure_interval)},
            {"frechet", s.frechet},
            {"frechet_interval", interval(s.frechet_interval)},
            {"kernel", s.kernel.value},
            {"kernel_error", s.kernel.error},
            {"precision", s.cover.precision},
            {"recall", s.cover.recall},
            {"classes", s.classes},
            {"effective_classes", s.effective_classes},
            {"near_copies", s.near_copies},
            {"near_copies_interval", interval(s.near_copies_interval)},
            {"closer", s.closer}};
}

}  // namespace diffusion
