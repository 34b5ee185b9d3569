#include "04_unet/trainer.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <sstream>
#include <system_error>

#include "io/csv.hpp"
#include "io/json.hpp"
#include "kernels/threads.hpp"
#include "tensor/finite.hpp"

namespace diffusion {

int default_lane(int batch) {
    return std::clamp(batch / 8, 4, 8);
}

double learning_rate_at(std::int64_t step, const TrainOptions& options) {
    const double k = static_cast<double>(step), warmup = static_cast<double>(options.warmup);
    if (k < warmup) return options.learning_rate * (k + 1) / warmup;
    // >>> exercise 4.6 points=1 hint="(4.16): half a cosine from the highest rate to 1 % of it"
    const double rest = std::max(1.0, static_cast<double>(options.steps) - warmup);
    const double way = std::min(1.0, (k - warmup) / rest);
    return options.learning_rate *
           (0.01 + 0.99 * 0.5 * (1 + std::cos(std::numbers::pi * way)));  // (4.16)
    // <<<
}

void require_finite(const ParameterList& list, std::span<const float> values,
                    const std::string& what) {
    const auto odd = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
    if (odd == values.end()) return;
    throw NotFinite(what + " the parameter " + list.name_at(odd - values.begin()) +
                    " is not finite");
}

Trainer::Trainer(const ParameterList& list, const TrainOptions& options)
    : list_(list),
      options_(options),
      values_(list.block()),
      gradient_(list.block()),
      muon_(options.muon ? list.matrices() : std::vector<Parameter>(), values_.size(), {}),
      adam_(values_.size(), {.learning_rate = options.learning_rate, .beta2 = 0.99}) {
    require(options.batch > 0 && options.lane >= 0, "trainer: batch ", options.batch, ", lane ",
            options.lane, ", expected positive numbers");
    if (options_.lane == 0) options_.lane = default_lane(options_.batch);
    list.initialise<float>(values_, options.seed);
    average_ = values_;
    const int lanes = (options_.batch + options_.lane - 1) / options_.lane;
    lane_gradients_.assign(static_cast<std::size_t>(lanes), Array<float>(list.block()));
    lane_losses_.resize(static_cast<std::size_t>(lanes));
}

Trainer::Report Trainer::step(const Loss& loss) {
    const std::int64_t number = steps();
    const int lanes = static_cast<int>(lane_gradients_.size());
    parallel_for(lanes, thread_count(), [&](int lane) {
        const TapePool<float>::Lent lent(tapes_);
        Tape<float>& tape = lent.tape();
        Array<float>& gradient = lane_gradients_[static_cast<std::size_t>(lane)];
        std::fill(gradient.begin(), gradient.end(), 0.0f);
        tape.bind(values_.data(), gradient.data());
        const int first = lane * options_.lane,
                  count = std::min(options_.lane, options_.batch - first);
        const Var<float> value = loss(tape, number, first, count);
        require(value.value().numel() == 1, "trainer: the loss must be one number, its shape is ",
                value.shape());
        tape.backward_from(value, static_cast<float>(count) / static_cast<float>(options_.batch));
        lane_losses_[static_cast<std::size_t>(lane)] =
            static_cast<double>(value.value()(0)) * count / options_.batch;
        tape.reset();  // after the first step its memory becomes one block here
    });

    for_each_block(std::ssize(gradient_), [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
        std::fill(gradient_.data() + begin, gradient_.data() + end, 0.0f);
        for (const Array<float>& gradient : lane_gradients_)
            for (std::ptrdiff_t i = begin; i < end; ++i) gradient_.data()[i] += gradient.data()[i];
    });
    Report report;
    for (double value : lane_losses_) report.loss += value;
    report.gradient_norm = std::sqrt(sum_of_squares<float>(gradient_));
    if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
        std::ostringstream message;
        message << "training: the loss is " << report.loss << " at step " << number + 1
                << "; the first layer that is not finite is " << find_culprit(loss);
        throw NotFinite(message.str());
    }
    const double rate = learning_rate_at(number, options_);
    const double factor = std::min(1.0, options_.max_norm / report.gradient_norm);  // (2.19)
    muon_.step(values_, gradient_, rate, factor);  // takes the matrices' gradients
    adam_.step(values_, gradient_, rate,
               {factor, average_, ema_rate(number + 1, options_.ema_rate)});
    return report;
}

std::string Trainer::find_culprit(const Loss& loss) {
    const auto layer = [&](std::ptrdiff_t offset) {
        const std::string& name = list_.name_at(offset);
        return name.substr(0, name.rfind('.'));
    };
    Arena arena;
    Tape<float> tape(arena);
    Array<float> gradient(list_.block());
    for (int first = 0; first < options_.batch; first += options_.lane) {
        tape.reset();
        tape.bind(values_.data(), gradient.data());
        tape.watch_results();
        const Var<float> value =
            loss(tape, steps(), first, std::min(options_.lane, options_.batch - first));
        if (tape.culprit() >= 0) return layer(tape.culprit());
        tape.backward_from(value, 1.0f);
        if (tape.culprit() >= 0) return layer(tape.culprit()) + " (on the way back)";
    }
    // Every result has a finite gradient: what is left are gradients of parameters.
    const auto bad =
        std::find_if(gradient_.begin(), gradient_.end(), [](float g) { return !std::isfinite(g); });
    return bad == gradient_.end() ? "not known"
                                  : layer(bad - gradient_.begin()) + " (its gradient)";
}

std::map<std::string, std::string> Trainer::identity() const {
    std::map<std::string, std::string> all = options_.task;
    all.insert({{"batch", std::to_string(options_.batch)},
                {"lane", std::to_string(options_.lane)},
                {"steps", std::to_string(options_.steps)},
                {"warmup", std::to_string(options_.warmup)},
                {"optimizer", options_.muon ? "muon" : "adam"},
                {"max_norm", shortest(options_.max_norm)},
                {"ema_rate", shortest(options_.ema_rate)},
                {"seed", std::to_string(options_.seed)},
                {"parameters", std::to_string(list_.count())}});
    return all;
}

std::map<std::string, std::span<float>> Trainer::state() {
    return {{"values", values_},
            {"average", average_},
            {"momentum", muon_.momentum()},
            {"first_moment", adam_.first_moment()},
            {"second_moment", adam_.second_moment()}};
}

void Trainer::save(const std::filesystem::path& path) {
    const std::string after = "training: after step " + std::to_string(steps());
    for (const std::span<const float> each : {values_.span(), average_.span()})
        require_finite(list_, each, after);
    for (const auto& [name, place] : this->state()) {
        if (!all_finite<float>(place))
            throw NotFinite(after + " the optimizer's " + name + " is not finite");
    }
    std::map<std::string, std::string> metadata = identity();
    metadata["step"] = std::to_string(steps());
    metadata["learning_rate"] = shortest(options_.learning_rate);
    if (!earlier_rates_.empty()) metadata["earlier_learning_rates"] = earlier_rates_;
    const std::map<std::string, std::span<float>> all = this->state();
    std::vector<ArrayView> arrays;
    for (const char* name : {"values", "average", "momentum", "first_moment", "second_moment"})
        arrays.push_back({name, {static_cast<int>(all.at(name).size())}, all.at(name)});
    write_safetensors(path, arrays, metadata);
}

SavedState look_at_state(const std::filesystem::path& path) {
    SavedState saved;
    saved.metadata = SafetensorsFile(path).metadata();
    const auto number = [&](const char* name, auto& value) {
        const auto found = saved.metadata.find(name);
        const std::string text = found == saved.metadata.end() ? "" : found->second;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        require(error == std::errc() && end == text.data() + text.size() && value >= 0,
                path.string(), ": no number '", name, "': not the state of a training");
    };
    number("step", saved.step);
    number("steps", saved.steps);
    number("learning_rate", saved.learning_rate);
    require(saved.step <= saved.steps && saved.steps <= kMostSteps, path.string(), ": step ",
            saved.step, " of ", saved.steps, ": not the state of a training");
    return saved;
}

void Trainer::load(const std::filesystem::path& path) {
    const SavedState saved = look_at_state(path);
    std::string differences;
    for (const auto& [name, expected] : identity()) {
        const auto found = saved.metadata.find(name);
        const bool there = found != saved.metadata.end();
        if (there && found->second == expected) continue;
        differences += (differences.empty() ? "this run has " : ", ") + name + " " +
                       in_quotes(expected) + ", the saved one " +
                       (there ? in_quotes(found->second) : "does not say");
    }
    require(differences.empty(), path.string(), ": ", differences);
    const SafetensorsFile state(path);
    const std::map<std::string, std::span<float>> places = this->state();
    for (const auto& [name, place] : places) {
        const StoredTensor* array = state.find(name);
        require(array != nullptr, path.string(), ": the array ", name, " is missing");
        require(array->count == place.size(), path.string(), ": ", name, " has ", array->count,
                " numbers, expected ", place.size());
    }
    require(state.tensors().size() == places.size(), path.string(), ": holds ",
            state.tensors().size(), " arrays, expected ", places.size());
    std::map<std::string, Array<float>> read;  // all of it, before anything changes here
    for (const auto& [name, place] : places) {
        const StoredTensor& array = *state.find(name);
        Array<float>& values = read[name];
        values = Array<float>(static_cast<std::ptrdiff_t>(place.size()));
        state.read(array, 0, values.span());
        require(all_finite<float>(values.span()), state.place_of(array),
                ": holds a number that is not finite");
    }
    for (const auto& [name, place] : places) std::ranges::copy(read.at(name), place.begin());
    adam_.set_steps(saved.step);
    const auto earlier = saved.metadata.find("earlier_learning_rates");
    earlier_rates_ = earlier == saved.metadata.end() ? "" : earlier->second;
    if (saved.learning_rate != options_.learning_rate) {
        earlier_rates_ += (earlier_rates_.empty() ? "" : ", ") + shortest(saved.learning_rate) +
                          " until step " + std::to_string(saved.step);
    }
}

}  // namespace diffusion
