// The state of a training that is to go on.
#include "04_unet/trainer.hpp"
#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

struct Small {
    ParameterList list;
    Trainer trainer;

    explicit Small(const std::string& task)
        : trainer((list.add("w", {2}, Layout::plain, {}), list),
                  {.batch = 1, .steps = 10, .seed = 7, .task = {{"data", task}}}) {}
};

std::string state_of(Small& run, std::int64_t steps) {
    const auto path = folder() / "made.safetensors";
    run.trainer.set_steps(steps);
    run.trainer.save(path);
    return get_text(path);
}

}  // namespace

std::vector<std::string> seeds() {
    Small mine("mnist"), other("fashion");
    return {state_of(mine, 0), state_of(mine, 10), state_of(other, 3)};
}

void check(const std::string& input) {
    const auto path = folder() / "state.safetensors", again = folder() / "again.safetensors";
    put_text(path, input);
    static Small run("mnist");
    run.trainer.set_steps(5);
    if (!accepted(path.string(), [&] { run.trainer.load(path); })) {
        must(run.trainer.steps() == 5, "a refused state changes nothing");
        return;
    }
    if (!accepted("training: ", [&] { run.trainer.save(again); })) return;  // not finite
    const std::string first = get_text(again);
    run.trainer.load(again);
    run.trainer.save(again);
    must(get_text(again) == first, "written and read again");
}

}  // namespace diffusion::fuzz
