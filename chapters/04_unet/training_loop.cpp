#include "04_unet/training_loop.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "io/csv.hpp"
#include "io/image.hpp"

namespace diffusion {
namespace {

const std::vector<std::string> kLogColumns = {"step", "images", "seconds", "loss", "grad_norm"};

}  // namespace

TrainingLoop::TrainingLoop(const CommonOptions& common, const TrainingFolder& folder,
                           Trainer& trainer, TrainingPlan plan)
    : common_(common), files_(folder), trainer_(trainer), plan_(std::move(plan)) {}

void TrainingLoop::resume(const SavedState& saved) {
    resumed_at_ = saved.step;
    try {
        trainer_.load(files_.state());
    } catch (const Error& error) {
        const bool further = plan_.has_from && saved.step == saved.steps &&
                             saved.steps != steps() && files_.holds_model();
        fail(error.what(),
             further ? "; to train its model further, leave out --resume, and add --from " +
                           files_.path().string()
                     : "; start with the same options, or without --resume (what is there is then "
                       "kept)");
    }
    if (!trainer_.earlier_rates().empty())
        std::printf("learning rate: %s; from there on %s\n", trainer_.earlier_rates().c_str(),
                    shortest(trainer_.options().learning_rate).c_str());
    try {
        earlier_ = seconds_logged();
    } catch (const Error& error) {  // the state decides, not its log
        const std::string name = files_.log().filename().string();
        const std::filesystem::path aside = set_aside(files_.place(), std::span(&name, 1));
        std::printf("note: %s; %sa new log begins\n", error.what(),
                    aside.empty() ? "" : ("it is kept in " + aside.string() + ", and ").c_str());
        const CsvWriter anew(files_.log(), kLogColumns, false);
    }
}

/// Brings the log to the state's step. How long the training took up to there.
double TrainingLoop::seconds_logged() const {
    require(std::filesystem::exists(files_.log()), files_.log().string(), ": is not there");
    keep_csv_rows(files_.log(), 0, static_cast<double>(trainer_.steps()));
    const CsvTable log = read_csv(files_.log());
    require(log.columns == kLogColumns, files_.log().string(),
            ": not the log of a training: its columns are others");
    return log.rows.empty() ? 0 : log.rows.back()[2];
}

void TrainingLoop::begin(std::span<const float> values, const std::string& from) {
    if (common_.resume)
        std::printf("nothing is saved in %s: starting from the beginning\n",
                    files_.path().string().c_str());
    files_.make_room();
    if (!values.empty()) {
        std::printf("begins with the weights of %s\n", from.c_str());
        std::ranges::copy(values, trainer_.values().begin());
        std::ranges::copy(values, trainer_.average().begin());
    }
    const CsvWriter anew(files_.log(), kLogColumns, false);
    trainer_.save(
        files_.state());  // now, so that a later --resume never meets the state of another run
}

bool TrainingLoop::run(Training& training) {
    CsvWriter log(files_.log(), kLogColumns, trainer_.steps() > 0);
    Progress progress("train", images_at(steps()), "images", images());
    try {
        draw_if_due(training, true);  // the stop came while it was drawn
        while (trainer_.steps() < steps() && !interrupted()) {
            const Trainer::Report report = training.step();
            log.row({static_cast<double>(trainer_.steps()), static_cast<double>(images()),
                     seconds(), report.loss, report.gradient_norm});
            char text[32];
            std::snprintf(text, sizeof text, "loss %.4f", report.loss);
            progress.update(images(), text);
            draw_if_due(training, false);
            if (trainer_.steps() % plan_.save_every == 0) save(training);
        }
        progress.finish();
        save(training);
    } catch (const NotFinite& error) {
        fail(error.what(), "; ", lower_rate_advice());
    }
    return trainer_.steps() == steps();
}

/// What to do when a number is not finite.
std::string TrainingLoop::lower_rate_advice() const {
    const double rate = trainer_.options().learning_rate;
    const std::string lower = " --learning-rate " + shortest(rate / 4),
                      now = " (now " + shortest(rate) + ")";
    const std::int64_t step = look_at_state(files_.state()).step;
    const bool no_step = resumed_at_ == trainer_.steps();  // it was bad already
    if (step == 0 || no_step)
        return "begin again with " + plan_.command + ", the same options without --resume, and" +
               lower + now;
    return "the checkpoint of step " + std::to_string(step) + " is kept: " + plan_.command +
           " with the same options, --resume and" + lower + now +
           " goes on from there, without --resume it begins again";
}

/// A state to go on from, and a model to use.
void TrainingLoop::save(Training& training) {
    training.fetch();
    trainer_.save(files_.state());
    plan_.save_model();
}

/// The drawing to be made after the step that was made last; 0: none.
std::int64_t TrainingLoop::due_grid() const {
    const std::int64_t done = trainer_.steps(), part = kDrawings * done / steps();
    return done > 0 && part != kDrawings * (done - 1) / steps() ? part : 0;
}

void TrainingLoop::draw_if_due(Training& training, bool unless_there) {
    const std::int64_t part = due_grid();
    if (part == 0 || (unless_there && std::filesystem::exists(files_.grid(part)))) return;
    training.fetch();
    plan_.draw(part);
}

bool TrainingLoop::stack_grids(const std::filesystem::path& picture) const {
    std::vector<Image> grids;
    for (int part = 1; part <= kDrawings; ++part) {
        if (std::filesystem::exists(files_.grid(part)))
            grids.push_back(read_image(files_.grid(part)));
    }
    if (grids.empty()) return false;
    write_png(picture, stack_rows(grids));
    return true;
}

}  // namespace diffusion
