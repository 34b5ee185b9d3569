#include "04_unet/train_settings.hpp"

#include <algorithm>
#include <map>

#include "04_unet/unet_file.hpp"
#include "io/csv.hpp"

namespace diffusion {
namespace {

/// How much work a preset is. Fixed numbers of images, never of seconds: so results repeat.
struct Preset {
    int base;
    std::vector<int> multipliers;
    int batch;
    std::int64_t images;
};
const std::map<std::string, Preset> kPresets = {{"smoke", {8, {1, 2, 2}, 32, 128}},
                                                {"quick", {16, {1, 2, 2}, 32, 32'000}},
                                                {"standard", {16, {1, 2, 4}, 32, 256'000}},
                                                {"long", {16, {1, 2, 4}, 128, 4'480'000}}};

/// Fails, naming it, at a setting of the network that differs from what is trained here.
void require_ours(const UNetConfig& config, const UNetConfig& ours, const std::string& from) {
    const nlohmann::json given = unet_config_json(config), expected = unet_config_json(ours);
    for (const auto& [name, value] : expected.items()) {
        const nlohmann::json found = given.value(name, nlohmann::json());
        require(found == value, from, ": this network's ", name, " is ", found.dump(),
                "; what is trained here has ", value.dump(),
                ": only networks that 04_unet train made can be trained further");
    }
}

/// An option that was not given takes the value; one that was has to agree.
void agree(const char* option, std::string& given, const std::string& value) {
    require(given.empty() || given == value, option, " ", given, ": the model of --from has ",
            value, "; leave the option out");
    given = value;
}

}  // namespace

void take(TrainSettings& settings, const DenoisingModel& model, const Dataset& data) {
    const std::string from = "--from " + settings.from.string();
    const UNetConfig& config = model.unet.config();
    const int base = config.channels_at(0);
    std::vector<int> multipliers;
    for (const int channels : config.channels) multipliers.push_back(channels / base);
    const Schedule& schedule = model.schedule;
    require_ours(config, unet_config(config.in_channels, base, multipliers), from);
    require(std::ranges::find(kScheduleNames, schedule.name) != std::end(kScheduleNames) &&
                schedule.beta == make_schedule(schedule.name, kT).beta,
            from, ": its schedule, ", schedule.name, " with ", schedule.steps(),
            " steps, is not one of --schedule");
    std::string its_base = settings.base == 0 ? "" : std::to_string(settings.base),
                its_multipliers = joined(settings.multipliers);
    agree("--base", its_base, std::to_string(base));
    agree("--multipliers", its_multipliers, joined(multipliers));
    settings.base = base;
    settings.multipliers = multipliers;
    agree("--schedule", settings.schedule, schedule.name);
    agree("--prediction", settings.prediction, prediction_name(model.prediction));
    require(Shape{data.height, data.width, data.channels} ==
                Shape{model.height, model.width, config.in_channels},
            from, ": the model draws pictures of ", model.height, "x", model.width, "x",
            config.in_channels, ", the data are ", data.height, "x", data.width, "x", data.channels,
            " (", data.source, ")");
}

void take(TrainSettings& settings, const SavedState& saved, bool all) {
    if (settings.learning_rate == 0) settings.learning_rate = saved.learning_rate;
    const auto entry = [&](const char* name) {
        const auto found = saved.metadata.find(name);
        return found == saved.metadata.end() ? std::string() : found->second;
    };
    const auto number = [&](const char* name) {
        const std::vector<int> parts = parted(entry(name));
        return parts.size() == 1 ? parts[0] : 0;
    };
    if (all && settings.batch == 0) settings.batch = number("batch");
    if (all && settings.images == 0 && settings.batch > 0 &&
        saved.steps <= kMostSteps / settings.batch)
        settings.images = saved.steps * settings.batch;
    const std::string from = entry("--from");
    const bool begun_with_a_model = !from.empty() && from != "none";
    if (begun_with_a_model && settings.from.empty()) settings.from = from;
    if (!all && !begun_with_a_model) return;
    if (settings.base == 0) settings.base = number("base");
    if (settings.multipliers.empty()) settings.multipliers = parted(entry("multipliers"));
    if (settings.schedule.empty()) settings.schedule = entry("schedule");
    if (settings.prediction.empty()) settings.prediction = entry("prediction");
}

void take(TrainSettings& settings, const std::string& preset) {
    const Preset& of = kPresets.at(preset);
    if (settings.base == 0) settings.base = of.base;
    if (settings.multipliers.empty()) settings.multipliers = of.multipliers;
    if (settings.batch == 0) settings.batch = of.batch;
    if (settings.images == 0) settings.images = of.images;
    if (settings.learning_rate == 0) settings.learning_rate = kLearningRate;
    if (settings.schedule.empty()) settings.schedule = kSchedule;
    if (settings.prediction.empty()) settings.prediction = kPrediction;
}

TrainOptions options_of(const TrainSettings& settings, const Dataset& data, std::uint64_t seed) {
    const std::int64_t steps = std::max<std::int64_t>(1, settings.images / settings.batch);
    TrainOptions options{
        .batch = settings.batch,
        .lane = pictures_at_a_time(data.height * data.width, default_lane(settings.batch)),
        .steps = steps,
        .learning_rate = settings.learning_rate,
        .warmup = std::min<std::int64_t>(200, steps / 5),
        .muon = settings.optimizer == "muon",
        .seed = seed,
        .task = {{"base", std::to_string(settings.base)},
                 {"multipliers", joined(settings.multipliers)},
                 {"schedule", settings.schedule},
                 {"prediction", settings.prediction},
                 {"time_power", shortest(settings.time_power)}}};
    options.task.insert(
        {{"data", data.name},
         {"data pictures", std::to_string(data.count)},
         {"data size", std::to_string(data.height) + "x" + std::to_string(data.width) + "x" +
                           std::to_string(data.channels)},
         {"data checksum", checksum(data)},
         {"--from", settings.from.empty()
                        ? "none"
                        : std::filesystem::weakly_canonical(settings.from).string()}});
    return options;
}

}  // namespace diffusion
