// Chapter 5: what is counted, and the judge as a whole.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "05_measuring/faults.hpp"
#include "05_measuring/scores.hpp"
#include "05_measuring/texts.hpp"
#include "data/find.hpp"
#include "data/strokes.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"

using namespace diffusion;
using doctest::Approx;

namespace {

const Stage kQuiet = [](const std::string&) {};

}  // namespace

TEST_SUITE_BEGIN("ch05 math");

TEST_CASE("(5.2) the judge is sure from 0.9 on") {
    CHECK(sure_share({{}, {3, 1, 4, 1}, {0.95f, 0.9f, 0.89f, 0.2f}}) == 0.5);
    CHECK(sure_share({{}, {3}, {1.0f}}) == 1);
}

TEST_CASE("(5.14) equally frequent classes count fully, missing ones not at all") {
    CHECK(effective_classes({5, 5, 5, 5}) == Approx(4).epsilon(1e-12));
    CHECK(effective_classes({7, 0, 7, 0}) == Approx(2).epsilon(1e-12));
    CHECK(effective_classes({0, 9, 0}) == Approx(1).epsilon(1e-12));
}

TEST_CASE("(5.15) (5.16) training pictures are near copies, noisy ones are not") {
    const Dataset train = stroke_digits(800, 1), test = stroke_digits(400, 2);
    Reference r = make_reference(train_classifier(train, 6400, 1), train, test, kQuiet);
    CHECK(r.accuracy > 0.6);
    const Scores of_test = score(r, test, 1, kQuiet),
                 copies = score(r, choose(train, 200, 1), 1, kQuiet);
    CHECK(of_test.closer ==
          Approx(0.5).epsilon(1e-9));  // no two sets have equal chances but equals
    CHECK(copies.near_copies == 1);
    CHECK(copies.closer == 1);
    const Scores noise = score(r, noisy(choose(test, 200, 1), 0.5, 1), 1, kQuiet);
    CHECK(noise.near_copies == 0);
    CHECK(noise.closer < 0.1);
    CHECK(noise.frechet > of_test.frechet);
    int total = 0;
    for (const int c : of_test.classes) total += c;
    CHECK(total == 400);
    CHECK(error_of([&] {
              score(r, choose(test, 99, 1), 1, kQuiet);
          }).find("expected at least 100") != std::string::npos);
    Dataset small = test;
    small.height = 14;
    small.count = 400;
    CHECK(contains(error_of([&] { score(r, small, 1, kQuiet); }),
                   "the pictures are 14x28x1, the judge learned 28x28x1"));
}

TEST_CASE("(5.15) near is what one test picture in a hundred of the same class is") {
    const Dataset train = stroke_digits(400, 1), test = stroke_digits(1'500, 2);
    Reference r = make_reference(train_classifier(train, 6400, 1), train, test, kQuiet);
    prepare_copy_test(r);
    int own = 0;
    for (int k = 0; k < 10; ++k) {
        int of_class = 0, near = 0, all = 0;
        for (std::size_t i = 0; i < 1'500; ++i) {
            const bool nearer = r.test_distance[i] < r.near[static_cast<std::size_t>(k)];
            all += nearer ? 1 : 0;
            if (r.of_test.label[i] != k) continue;
            ++of_class;
            near += nearer ? 1 : 0;
        }
        CAPTURE(k);
        CAPTURE(of_class);
        if (of_class >= 100) {
            ++own;
            CHECK(near == of_class / 100);
        } else {
            CHECK(all == 15);  // of all classes together
        }
    }
    CHECK(own >= 5);
    CHECK(*std::ranges::max_element(r.near) > *std::ranges::min_element(r.near));
}

TEST_CASE("a classifier's file gives the same predictions; damaged ones are told by name") {
    const TemporaryFolder folder;
    const Dataset train = stroke_digits(200, 1);
    TrainedClassifier classifier = train_classifier(train, 640, 1);
    const auto path = folder / "judge.safetensors";
    classifier.save(path);
    TrainedClassifier again = load_classifier(path);
    TrainedClassifier odd = again;
    odd.values[0] = std::numeric_limits<float>::quiet_NaN();
    CHECK(contains(error_of([&] { odd.save(path); }),
                   path.string() + ": of the judge the parameter in.weight is not finite"));
    CHECK(again.images == 640);
    CHECK(again.seed == "1");
    CHECK(again.data == train.name);
    CHECK(judge(again, train).confidence == judge(classifier, train).confidence);
    Safetensors file = read_safetensors(path);
    file.metadata["model"] = "unet";
    write_safetensors(path, file);
    CHECK(contains(error_of([&] { load_classifier(path); }),
                   "judge.safetensors: holds a model \"unet\", expected classifier"));
    Dataset unnamed = train;
    unnamed.labels.clear();
    CHECK(contains(error_of([&] { train_classifier(unnamed, 64, 1); }), "has no labels"));
}

TEST_CASE("a share of 0 is told as 0, to its interval's ends") {
    for (const int n : {100, 200, 5000}) CHECK(percent(share_interval(0, n).low) == "0.0 %");
}

TEST_CASE("a smaller choice of pictures is the beginning of a larger one") {
    const Dataset all = stroke_digits(50, 1);
    const Dataset few = choose(all, 10, 3), more = choose(all, 30, 3);
    CHECK(std::equal(few.pixels.begin(), few.pixels.end(), more.pixels.begin()));
    CHECK(std::equal(few.labels.begin(), few.labels.end(), more.labels.begin()));
    CHECK(choose(all, 10, 4).pixels != few.pixels);
    CHECK_THROWS_AS(choose(all, 51, 1), Error);
}

TEST_CASE("faulty sets have the faults that their names say") {
    const Dataset train = stroke_digits(100, 1), test = stroke_digits(100, 2);
    const std::vector<FaultySet> sets = make_faults(train, test, 60, 1);
    const std::vector<std::uint8_t>& real = sets.at(0).pictures.pixels;
    for (const FaultySet& set : sets) {
        CAPTURE(set.name);
        CHECK(set.pictures.count == 60);
        CHECK(set.pictures.pixels.size() == 60 * test.image_size());
        const auto in = [&](const Dataset& all, int n) {  // whether picture n is one of these
            const auto mine = set.pictures.pixels.begin() + n * 784;
            for (int k = 0; k < all.count; ++k) {
                if (std::equal(mine, mine + 784, all.pixels.begin() + k * 784)) return true;
            }
            return false;
        };
        if (set.name == "halves" || set.name == "two at once") {
            std::vector<std::uint8_t> expected = real;
            for (std::size_t i = 0; i < expected.size(); ++i) {
                const std::uint8_t next = real[(i + 784) % real.size()];
                if (set.name == "two at once") {
                    expected[i] = std::max(expected[i], next);
                } else if (i % 28 >= 14) {
                    expected[i] = next;
                }
            }
            CHECK(set.pictures.pixels == expected);
        }
        const bool of_test =
            set.name == "real" || set.name == "a class missing" || set.name == "ten";
        CHECK(in(test, 5) == of_test);
        CHECK(in(train, 5) == (set.name == "by heart"));
        if (set.name == "a class missing") CHECK(std::ranges::count(set.pictures.labels, 9) == 0);
        if (set.name == "ten")
            CHECK(std::equal(set.pictures.pixels.begin(), set.pictures.pixels.begin() + 7840,
                             set.pictures.pixels.begin() + 7840));
    }
    // By hand: two pictures of 2 x 2 pixels, and one of 3 x 3.
    const Dataset two{"two", "two", 2, 2, 2, 1, {1, 2, 3, 4, 50, 60, 70, 80}, {0, 1}};
    const Dataset one{"one", "one", 1, 3, 3, 1, {0, 0, 0, 0, 90, 0, 0, 0, 0}, {0}};
    CHECK(one_in_ten_halves(two).pixels == std::vector<std::uint8_t>{1, 60, 3, 80, 50, 60, 70, 80});
    CHECK(blurred(one).pixels == std::vector<std::uint8_t>(9, 10));
    double square = 0;
    const Dataset grey{"grey", "grey", 1, 100, 100, 1, std::vector<std::uint8_t>(10'000, 128), {0}};
    for (const std::uint8_t v : noisy(grey, 0.2, 1).pixels) square += (v - 128.0) * (v - 128.0);
    CHECK(std::sqrt(square / 10'000) / 127.5 == doctest::Approx(0.2).epsilon(0.03));
    const Dataset spoiled = one_in_ten_halves(test);
    int changed = 0;
    for (int n = 0; n < 100; ++n) {
        const auto at = static_cast<std::ptrdiff_t>(n) * 784;
        changed += std::equal(test.pixels.begin() + at, test.pixels.begin() + at + 784,
                              spoiled.pixels.begin() + at)
                       ? 0
                       : 1;
    }
    CHECK(changed == 10);
}

TEST_CASE(
    "the floor of the Frechet distance is the mean over sets without overlap, at most eight") {
    // 20 points, all pairwise different: sets of 10 are two, together all of them.
    std::vector<float> x(20);
    for (std::size_t i = 0; i < 20; ++i) x[i] = static_cast<float>(i * i);
    const Gaussian reference{Eigen::VectorXd::Zero(1), Eigen::MatrixXd::Zero(1, 1)};
    // Against a point at 0 the distance is the mean square, up to n in place of n - 1 in the
    // variance; over two halves the means of the squares add up to that of all.
    double square = 0;
    for (const float v : x) square += static_cast<double>(v) * static_cast<double>(v) / 20;
    const double two = mean_frechet(reference, {x.data(), {20, 1}}, 10, 1);
    CHECK(two > square);
    CHECK(two < 10.0 / 9 * square);
    CHECK(mean_frechet(reference, {x.data(), {20, 1}}, 20, 1) ==
          doctest::Approx(frechet_distance(reference, fit_gaussian({x.data(), {20, 1}}))));
    // One point of 1 among 1,000 of 0 is in the first eight sets of 20, or in none that counts.
    std::vector<float> rare(1'000);
    rare[500] = 1;
    int seen = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed)
        seen += mean_frechet(reference, {rare.data(), {1'000, 1}}, 20, seed) > 0 ? 1 : 0;
    CHECK(seen > 16);  // expected: 32 of 200, with a deviation of 5
    CHECK(seen < 48);
}

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch05 judge");

TEST_CASE("the judge names at least 99 % of MNIST's test pictures rightly") {
    const Dataset train = find_dataset("mnist", "", true), test = find_dataset("mnist", "", false);
#ifdef DIFFUSION_SANITIZED
    MESSAGE("not checked: with sanitizers it would take minutes");
    return;
#endif
    // Where MNIST is not here, the digits that the program draws itself must do; they are easier.
    const bool real = train.name == "mnist";
    TrainedClassifier classifier = train_classifier(train, real ? 120'000 : 30'000, 1);
    const Predictions predictions = judge(classifier, test);
    CHECK(accuracy(predictions, test) >= 0.99);
    if (!real) return;
    std::array<int, 2> wrong{};  // in each half of the test set
    for (std::size_t i = 0; i < predictions.label.size(); ++i)
        wrong.at(2 * i / predictions.label.size()) +=
            predictions.label[i] == test.labels[i] ? 0 : 1;
    CHECK(wrong[0] > wrong[1]);
}

TEST_SUITE_END();
