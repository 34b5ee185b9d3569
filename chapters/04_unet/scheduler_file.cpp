#include "04_unet/scheduler_file.hpp"

#include <algorithm>
#include <array>

#include "io/json.hpp"
#include "tensor/check.hpp"

namespace diffusion {
namespace {

using nlohmann::json;

struct NamedKind {
    const char* name;
    Prediction kind;
};
constexpr std::array<NamedKind, 3> kKinds = {
    {{"epsilon", Prediction::eps}, {"sample", Prediction::x0}, {"v_prediction", Prediction::v}}};
constexpr std::array<const char*, 5> kClasses = {"DDPMScheduler", "DDIMScheduler", "PNDMScheduler",
                                                 "EulerDiscreteScheduler",
                                                 "DPMSolverMultistepScheduler"};

template <std::size_t N>
std::string listed(const std::array<const char*, N>& names) {
    std::string all;
    for (const char* name : names) all += (all.empty() ? "" : ", ") + std::string(name);
    return all;
}

Schedule read_schedule(const Config& file) {
    const int T = file.number("num_train_timesteps", {1, 100'000}, 1000);
    if (file.has("trained_betas")) {
        const std::vector<double> betas = file.reals("trained_betas");
        require(static_cast<int>(betas.size()) == T, file.path().string(), ": trained_betas has ",
                betas.size(), " numbers, expected ", T, ", num_train_timesteps");
        return schedule_from_betas("given", betas);
    }
    const double first = file.real("beta_start", 1e-4), last = file.real("beta_end", 0.02);
    const std::string name = file.text("beta_schedule", "linear");
    if (name == "linear") return linear_schedule(T, first, last, Ends::as_given);
    if (name == "scaled_linear") return scaled_linear_schedule(T, first, last, Ends::as_given);
    if (name == "squaredcos_cap_v2") return cosine_schedule(T);
    file.refuse("beta_schedule", "linear, scaled_linear or squaredcos_cap_v2");
}

/// What is not done here, and what is passed over because our own options say it.
void refuse_others(const Config& file) {
    file.only("variance_type", {nullptr, "fixed_small", "fixed_small_log", "fixed_large"});
    file.only("thresholding", {false});
    file.only("timestep_type", {nullptr, "discrete"});
    file.only("use_flow_sigmas", {nullptr, false});
    file.pass_over({"algorithm_type",
                    "dynamic_thresholding_ratio",
                    "euler_at_final",
                    "final_sigmas_type",
                    "flow_shift",
                    "interpolation_type",
                    "lambda_min_clipped",
                    "lower_order_final",
                    "sample_max_value",
                    "set_alpha_to_one",
                    "sigma_max",
                    "sigma_min",
                    "skip_prk_steps",
                    "solver_order",
                    "solver_type",
                    "steps_offset",
                    "time_shift_type",
                    "timestep_spacing",
                    "use_beta_sigmas",
                    "use_dynamic_shifting",
                    "use_exponential_sigmas",
                    "use_karras_sigmas",
                    "use_lu_lambdas",
                    "solver_p",
                    "trained_betas",
                    "beta_start",
                    "beta_end",
                    "beta_schedule"});
    file.done();
}

}  // namespace

Noising read_noising(const Config& file) {
    const std::string name = file.class_name();
    require(std::ranges::find(kClasses, name) != kClasses.end(), file.path().string(),
            ": the scheduler ", in_quotes(name), " is not understood here, expected one of ",
            listed(kClasses));
    const std::string kind = file.text("prediction_type", "epsilon");
    const auto found =
        std::ranges::find_if(kKinds, [&](const NamedKind& each) { return kind == each.name; });
    if (found == kKinds.end()) file.refuse("prediction_type", "epsilon, sample or v_prediction");
    const bool large = file.has("variance_type") && file.text("variance_type", "") == "fixed_large";
    const double range = file.real("clip_sample_range", 1);
    if (range <= 0) file.refuse("clip_sample_range", "a number above 0");
    const bool clips = file.flag("clip_sample", true);
    try {
        Schedule schedule = read_schedule(file);
        if (file.flag("rescale_betas_zero_snr", false)) schedule = zero_terminal_snr(schedule);
        refuse_others(file);
        return {std::move(schedule), found->kind, large ? Variance::large : Variance::small,
                clips ? range : 0};
    } catch (const Error& error) {  // a beta that is none, say
        const std::string text = error.what(), where = file.path().string() + ": ";
        fail(text.starts_with(where) ? "" : where, text);
    }
}

json scheduler_config_json(const Schedule& schedule, Prediction prediction) {
    const auto kind = std::ranges::find(kKinds, prediction, &NamedKind::kind);
    require(kind != kKinds.end(), "scheduler: no prediction of diffusers is called ",
            prediction_name(prediction));
    json config = {{"_class_name", "DDPMScheduler"},
                   {"num_train_timesteps", schedule.steps()},
                   {"prediction_type", kind->name},
                   {"variance_type", "fixed_small"},
                   {"clip_sample", true},
                   {"clip_sample_range", 1.0},
                   {"timestep_spacing", "trailing"},
                   {"steps_offset", 0}};
    const double first = schedule.beta[1], last = schedule.beta.back();
    if (schedule.name == "linear" || schedule.name == "scaled_linear") {
        config.update(
            {{"beta_schedule", schedule.name}, {"beta_start", first}, {"beta_end", last}});
    } else if (schedule.beta == cosine_schedule(schedule.steps()).beta) {
        config["beta_schedule"] = "squaredcos_cap_v2";
    } else {
        config["trained_betas"] =
            std::vector<double>(schedule.beta.begin() + 1, schedule.beta.end());
    }
    return config;
}

}  // namespace diffusion
