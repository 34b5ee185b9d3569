// Chapter 5: what is counted, and the judge as a whole.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "05_measuring/faults.hpp"
#include "05_measuring/scores.hpp"
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

TEST_CASE("a classifier's file gives the same opinion; damaged ones are told by name") {
    const TemporaryFolder folder;
    const Dataset train = stroke_digits(200, 1);
    TrainedClassifier classifier = train_classifier(train, 640, 1);
    const auto path = folder / "judge.safetensors";
    classifier.save(path);
    TrainedClassifier again = load_classifier(path);
    CHECK(again.images == 640);
    CHECK(again.seed == "1");
    CHECK(again.data == train.name);
    CHECK(judge(again, train).confidence == judge(classifier, train).confidence);
    Safetensors file = read_safetensors(path);
    file.metadata["model"] = "unet";
    write_safetensors(path, file);
    CHECK(contains(error_of([&] { load_classifier(path); }),
                   "judge.safetensors: holds a model 'unet', expected classifier"));
    Dataset unnamed = train;
    unnamed.labels.clear();
    CHECK(contains(error_of([&] { train_classifier(unnamed, 64, 1); }), "has no labels"));
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
    for (const FaultySet& set : make_faults(train, test, 60, 1)) {
        CAPTURE(set.name);
        CHECK(set.pictures.count == 60);
        CHECK(set.pictures.pixels.size() == 60 * test.image_size());
        if (set.name == "a class missing") CHECK(std::ranges::count(set.pictures.labels, 9) == 0);
        if (set.name == "ten")
            CHECK(std::equal(set.pictures.pixels.begin(), set.pictures.pixels.begin() + 7840,
                             set.pictures.pixels.begin() + 7840));
    }
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

TEST_SUITE_END();
TEST_SUITE_BEGIN("ch05 slow");

TEST_CASE("the judge names at least 99 % of MNIST's test pictures rightly") {
    const Dataset train = find_dataset("mnist", "", true), test = find_dataset("mnist", "", false);
    if (train.name != "mnist") {
        MESSAGE("MNIST is not here; not checked");
        return;
    }
    TrainedClassifier classifier = train_classifier(train, 120'000, 1);
    const Opinion opinion = judge(classifier, test);
    CHECK(accuracy(opinion, test) >= 0.99);
    std::array<int, 2> wrong{};  // in each half of the test set
    for (std::size_t i = 0; i < opinion.label.size(); ++i)
        wrong.at(2 * i / opinion.label.size()) += opinion.label[i] == test.labels[i] ? 0 : 1;
    CHECK(wrong[0] > wrong[1]);
}

TEST_SUITE_END();
