// The trainer, with a model small enough to be solved by hand: y = w x + b.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "04_unet/denoising.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;

namespace {

struct Line {
    ParameterList list;
    Parameter w = list.add("w", {1, 1}, Layout::linear, 0.5),
              b = list.add("b", {1}, Layout::plain, 0.5);

    /// Mean squared distance from 3 x - 1 at random places.
    Trainer::Loss loss(double factor = 1.0) const {
        return [this, factor](Tape<float>& tape, std::int64_t step, int first, int count) {
            const Tensor<float> x = tape.arena().make<float>({count, 1}),
                                y = tape.arena().make<float>({count, 1});
            for (int i = 0; i < count; ++i) {
                Random random(9, Purpose::test, static_cast<std::uint32_t>(step),
                              static_cast<std::uint32_t>(first + i));
                x(i, 0) = static_cast<float>(random.normal());
                y(i, 0) = static_cast<float>(factor) * (3 * x(i, 0) - 1);
            }
            return mse(linear(tape.constant(x), tape.parameter(w), tape.parameter(b)),
                       tape.constant(y));
        };
    }
};

const TrainOptions kOptions{.batch = 10,
                            .lane = 4,
                            .steps = 400,
                            .learning_rate = 0.1,
                            .warmup = 10,
                            .max_norm = 10,
                            .ema_rate = 0.9};

}  // namespace

TEST_SUITE_BEGIN("ch04 math");

TEST_CASE("the trainer finds the line, and the average of the weights follows") {
    const Line line;
    Trainer trainer(line.list, kOptions);
    for (int i = 0; i < 400; ++i) trainer.step(line.loss());
    const auto at = [](const std::vector<float>& v, const Parameter& p) {
        return v[static_cast<std::size_t>(p.offset)];
    };
    CHECK(at(trainer.values(), line.w) == doctest::Approx(3).epsilon(0.01));
    CHECK(at(trainer.values(), line.b) == doctest::Approx(-1).epsilon(0.01));
    CHECK(at(trainer.average(), line.w) == doctest::Approx(3).epsilon(0.01));
}

TEST_CASE("(4.16) the rate rises to its highest at the end of the warm-up and falls to 1 % of it") {
    CHECK(learning_rate_at(0, kOptions) == doctest::Approx(0.01).epsilon(1e-12));
    CHECK(learning_rate_at(9, kOptions) == doctest::Approx(0.1).epsilon(1e-12));
    CHECK(learning_rate_at(10, kOptions) == doctest::Approx(0.1).epsilon(1e-12));
    CHECK(learning_rate_at(205, kOptions) == doctest::Approx(0.1 * 0.505).epsilon(1e-12));
    CHECK(learning_rate_at(400, kOptions) == doctest::Approx(0.001).epsilon(1e-12));
}

TEST_CASE("a saved and loaded trainer goes on with the same bits") {
    const TemporaryFolder folder;
    const Line line;
    Trainer a(line.list, kOptions), b(line.list, kOptions);
    for (int i = 0; i < 20; ++i) a.step(line.loss());
    a.save(folder / "state");
    b.load(folder / "state");
    CHECK(b.steps() == 20);
    for (int i = 0; i < 20; ++i) CHECK(a.step(line.loss()).loss == b.step(line.loss()).loss);
    CHECK(a.values() == b.values());
    CHECK(a.average() == b.average());
    TrainOptions other = kOptions;
    other.seed = 2;
    Trainer c(line.list, other);
    CHECK_THROWS_WITH_AS(c.load(folder / "state"),
                         doctest::Contains("this run has seed 2, the saved one 1"), Error);
}

TEST_CASE(
    "a loss that is not finite stops the training, names step and parameter, and changes nothing") {
    const Line line;
    Trainer trainer(line.list, kOptions);
    trainer.step(line.loss());
    const std::vector<float> before = trainer.values();
    CHECK_THROWS_WITH_AS(
        trainer.step(line.loss(std::numeric_limits<double>::infinity())),
        doctest::Contains("at step 2; the first gradient that is not finite is that of w"), Error);
    CHECK(trainer.values() == before);
    CHECK(trainer.steps() == 1);
}

TEST_CASE("even times fall strictly from T to 0, whatever the number of steps") {
    for (int steps : {1, 7, 50, 999, 1000}) {
        const std::vector<int> times = even_times(1000, steps);
        CHECK(std::ssize(times) == steps + 1);
        CHECK(times.front() == 1000);
        CHECK(times.back() == 0);
        for (std::size_t i = 1; i < times.size(); ++i) CHECK(times[i] < times[i - 1]);
    }
    CHECK_THROWS_WITH_AS(even_times(1000, 1001), "sampling: steps is 1001, expected 1..1000",
                         Error);
}

TEST_SUITE_END();
