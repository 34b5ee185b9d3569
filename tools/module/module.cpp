// Runs the network that a folder holds on given inputs, so that other libraries can be compared
// with this one, number by number:
//
//   module --model FOLDER --inputs in.safetensors --out out.safetensors
//   module --model FOLDER --save OTHER       writes it as this book's programs write theirs
//
// Inputs and outputs have the names and layouts of the peers: pictures [N,C,H,W], whole numbers as
// I64.
#include "module/module.hpp"

#include <cstdio>

#include "app/app.hpp"
#include "app/ranges.hpp"
#include "io/finite.hpp"
#include "io/json.hpp"
#include "kernels/threads.hpp"
#include "tensor/finite.hpp"

namespace diffusion {
namespace {

constexpr const Module* kModules[] = {&kUNet2D,   &kAutoencoder, &kTiny, &kTextUNet,
                                      &kClipText, &kClip,        &kT5};

const Module& module_named(const std::string& name, const std::filesystem::path& file) {
    std::string all;
    for (const Module* each : kModules) {
        if (name == each->name) return *each;
        all += (all.empty() ? "" : ", ") + std::string(each->name);
    }
    fail(file.string(), ": the class ", in_quotes(name), " is not known here; known are ", all);
}

}  // namespace
}  // namespace diffusion

int main(int argc, char** argv) {
    using namespace diffusion;
    std::filesystem::path model, in, out, copy;
    int threads = 0;
    CLI::App app("Runs the network that a folder holds on given inputs.", "module");
    app.add_option("--model", model, "folder with config.json and weights, as diffusers writes it")
        ->required();
    CLI::Option* inputs =
        app.add_option("--inputs", in, "a safetensors file with the inputs, named as in the peer");
    CLI::Option* outputs = app.add_option("--out", out, "the safetensors file to write");
    app.add_option("--save", copy, "instead: a folder to write the model into, in float32")
        ->excludes(inputs)
        ->excludes(outputs);
    app.add_option("--threads", threads, "0: all cores")
        ->capture_default_str()
        ->transform(between(0, kMostThreads));
    return run_app(app, argc, argv, [&] {
        require(!copy.empty() || (!in.empty() && !out.empty()),
                "give --inputs and --out, or --save");
        pick_threads(threads);
        std::error_code ignored;  // what is not there is no input
        require(!std::filesystem::equivalent(in, out, ignored) &&
                    !std::filesystem::equivalent(model, copy, ignored),
                "--out or --save would replace what is read");
        require(!std::filesystem::exists(model / "model_index.json") ||
                    std::filesystem::exists(model / kConfigFile),
                model.string(), ": a pipeline; name one of its parts, such as ",
                (model / "unet").string());
        const Config config(model / kConfigFile);
        const Module& module = module_named(config.class_name(), config.path());
        if (copy.empty()) {
            Inputs given(in);
            const Outputs results = module.run(config, model, given);
            for (const NamedArray& each : results)
                require(all_finite<float>(each.values), out.string(), ": ", each.name,
                        " would have numbers that are not finite", kNotWritten);
            write_safetensors(out, {results, {}});
        } else {
            module.copy(config, model, copy);
        }
        std::printf("%s: %s\n", module.name, (copy.empty() ? out : copy).string().c_str());
    });
}
