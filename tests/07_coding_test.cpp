// Chapter 7: autoencoders at work, their folders, and the training set of a latent diffusion.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "07_latent_vae/coding.hpp"
#include "07_latent_vae/latent_set.hpp"
#include "07_latent_vae/pictures.hpp"
#include "07_latent_vae/tiny_file.hpp"
#include "io/image.hpp"
#include "io/json.hpp"
#include "support/file_checks.hpp"
#include "support/temporary_folder.hpp"
#include "tensor/random.hpp"

using namespace diffusion;
namespace fs = std::filesystem;

namespace {

AutoencoderSettings small_settings() {
    AutoencoderSettings settings;
    settings.config.channels = {4, 8};
    settings.config.groups = 2;
    settings.config.latent_channels = 3;
    settings.scale = {0.37, 0.25};
    return settings;
}

/// With random weights.
LoadedAutoencoder small_autoencoder(const AutoencoderSettings& settings = small_settings()) {
    AutoencoderModel model(settings, 8, 12, "test");
    Array<float> values(model.parameters.block());
    model.parameters.initialise<float>(values, 3);
    return {std::move(model), std::move(values)};
}

Array<float> normal(const Shape& shape, std::uint32_t stream) {
    Array<float> x(shape);
    fill_normal(x.tensor(), Random(74, Purpose::test, stream));
    return x;
}

}  // namespace

TEST_SUITE_BEGIN("ch07 math");

TEST_CASE("(7.14) a coder scales after it encodes, and back before it decodes") {
    LoadedAutoencoder vae = small_autoencoder();
    const Coder coder = coder_of(vae.model, vae.model.scale, vae.values);
    const Array<float> x = normal({5, 8, 12, 3}, 1), z = coder.encode(x.tensor()),
                       y = coder.decode(z.tensor());
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(vae.values.data());
    const Tensor<float> pictures = arena.make<float>(x.shape());
    std::ranges::copy(x, pictures.begin());
    const Var<float> mean = vae.model.autoencoder.encode(tape.constant(pictures)).mean;
    const Tensor<float> decoded = vae.model.autoencoder.decode(mean).value();
    REQUIRE(z.shape() == mean.shape());
    for (std::ptrdiff_t i = 0; i < mean.value().numel(); ++i)
        CHECK(z.data()[i] ==
              doctest::Approx((static_cast<double>(mean.value().data()[i]) - 0.25) * 0.37)
                  .epsilon(1e-5));
    for (std::ptrdiff_t i = 0; i < decoded.numel(); ++i)
        CHECK(std::abs(y.data()[i] - decoded.data()[i]) < 1e-5f);
    CHECK(contains(error_of([&] {
                       coder.encode(normal({1, 7, 8, 3}, 2).tensor());
                   }),
                   "encode: pictures are [1,7,8,3], expected [N,H,W,C] with multiples of 2"));
}

TEST_CASE("(7.17) PSNR of a constant error, and the mean over pictures") {
    const Array<float> black(Shape{2, 4, 4, 3});
    Array<float> off(Shape{2, 4, 4, 3});
    std::fill_n(off.data(), 48, 0.2f);
    std::fill_n(off.data() + 48, 48, 0.02f);
    CHECK(mean_psnr(black.tensor(), off.tensor()) == doctest::Approx(30));  // of 20 and 40
}

TEST_CASE("(7.6) a latent set is drawn anew in every pass, around the scaled means") {
    LoadedAutoencoder vae = small_autoencoder();
    const Array<float> x = normal({6, 8, 12, 3}, 3);
    const LatentSet set = encode_posteriors(vae.model, vae.model.scale, vae.values, x.tensor());
    const Array<float> z = coder_of(vae.model, vae.model.scale, vae.values).encode(x.tensor());
    for (std::size_t i = 0; i < z.size(); ++i)
        CHECK(set.mean.data()[i] ==
              doctest::Approx(static_cast<double>(z.data()[i])).epsilon(1e-5));
    Arena arena;
    Tape<float> tape(arena);
    tape.bind(vae.values.data());
    const Tensor<float> pictures = arena.make<float>(x.shape());
    std::ranges::copy(x, pictures.begin());
    const Tensor<float> log_variance =
        vae.model.autoencoder.encode(tape.constant(pictures)).log_variance.value();
    for (std::ptrdiff_t i = 0; i < log_variance.numel(); ++i)
        CHECK(set.deviation.data()[i] ==
              doctest::Approx(0.37 * std::exp(static_cast<double>(log_variance.data()[i]) / 2))
                  .epsilon(1e-4));

    LatentSet one;  // of one picture, and so each sample is a draw of its posterior
    one.mean = Array<float>(Shape{1, 4, 6, 3});
    one.deviation = Array<float>(Shape{1, 4, 6, 3});
    std::ranges::copy(set.mean.tensor()[0], one.mean.begin());
    std::ranges::copy(set.deviation.tensor()[0], one.deviation.begin());
    const Source source = latent_source(one, 3, 1);
    double sum = 0, square = 0;
    constexpr int kSteps = 200, kDraws = kSteps * 3 * 4 * 6 * 3;
    for (std::int64_t step = 0; step < kSteps; ++step) {
        Arena memory;
        const Tensor<float> batch = source(memory, step, 0, 3).x0;
        REQUIRE(batch.shape() == Shape{3, 4, 6, 3});
        const Tensor<float> last = source(memory, step, 2, 1).x0;  // the same, asked for alone
        CHECK(std::ranges::equal(last, batch[2]));
        CHECK(!std::ranges::equal(batch[0], batch[2]));  // the same picture, drawn anew
        for (int i = 0; i < 3; ++i)
            for (std::ptrdiff_t k = 0; k < batch[i].numel(); ++k) {
                const auto d = static_cast<double>((batch[i].data()[k] - one.mean.data()[k]) /
                                                   one.deviation.data()[k]);
                sum += d;
                square += d * d;
            }
    }
    CHECK(std::abs(sum / kDraws) < 4 / std::sqrt(kDraws));
    CHECK(std::abs(square / kDraws - 1) < 4 * std::sqrt(2.0 / kDraws));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("ch07 io");

TEST_CASE("an autoencoder's folder keeps network, scale, size and data") {
    const TemporaryFolder folder;
    for (const bool quant : {true, false}) {
        AutoencoderSettings settings = small_settings();
        settings.config.quant = settings.config.post_quant = settings.config.middle_attention =
            quant;
        const LoadedAutoencoder vae = small_autoencoder(settings);
        vae.model.save(folder / "vae", vae.values);
        const LoadedAutoencoder again = load_autoencoder(folder / "vae");
        CHECK(again.model.autoencoder.config() == settings.config);
        CHECK(again.model.scale == settings.scale);
        CHECK(again.model.height == 8);
        CHECK(again.model.width == 12);
        CHECK(again.model.data == "test");
        CHECK(std::ranges::equal(again.values, vae.values));
    }
    const LoadedAutoencoder of_pipeline = load_autoencoder(folder.path());  // it lies in vae
    CHECK(of_pipeline.model.height == 8);
    CHECK(load_coder(folder.path()).latent_channels == 3);
    CHECK(contains(error_of([&] { load_autoencoder(folder / "nothing"); }),
                   "holds no autoencoder: there is neither config.json nor a folder vae or vqvae"));
}

TEST_CASE("a tiny autoencoder's folder, with a pool and without") {
    const TemporaryFolder folder;
    for (const bool pool : {true, false}) {
        TinyConfig config;
        config.encoder_blocks = {1, 2};
        config.decoder_blocks = {2, 1};
        config.width = 8;
        config.pool = pool;
        const TinyModel model(config);
        Array<float> values(model.parameters.block());
        model.parameters.initialise<float>(values, 3);
        model.save(folder.path(), values);
        const LoadedTiny again = load_tiny(folder.path());
        CHECK(again.model.autoencoder.config() == config);
        CHECK(std::ranges::equal(again.values, values));
        const Coder coder = load_coder(folder.path());
        CHECK(coder.factor == 2);
        const Array<float> z = coder.encode(normal({1, 4, 6, 3}, 5).tensor());
        CHECK(coder.decode(z.tensor()).shape() == Shape{1, 4, 6, 3});
    }
}

TEST_CASE("settings that are not understood are refused by name") {
    const TemporaryFolder folder;
    const LoadedAutoencoder vae = small_autoencoder();
    vae.model.save(folder.path(), vae.values);
    const nlohmann::json good = read_json(folder / "config.json");
    const auto message = [&](const std::string& key, const nlohmann::json& value) {
        nlohmann::json changed = good;
        changed[key] = value;
        write_json(folder / "config.json", changed);
        return error_of([&] { load_autoencoder(folder.path()); });
    };
    CHECK(message("norm_num_groups", 2) == "no error");
    CHECK(contains(message("scaling_factor", 0), "scaling_factor is 0, expected a number above 0"));
    CHECK(contains(message("latents_mean", {0.0, 0.0, 0.0}), "latents_mean is [0.0,0.0,0.0]"));
    CHECK(contains(message("act_fn", "gelu"), "act_fn is \"gelu\""));
    CHECK(contains(message("norm_num_groups", 3), "4 channels, expected a multiple of 3"));
    CHECK(contains(message("down_block_types", {"DownEncoderBlock2D"}), "down_block_types is"));
    CHECK(contains(message("nonsense", 1), "nonsense"));
    CHECK(contains(message("_class_name", "VQModel"),
                   "the settings of a \"VQModel\", expected an AutoencoderKL"));
}

TEST_CASE("pictures of all kinds: streams repeat, and those held out are others") {
    const TemporaryFolder folder;
    fs::create_directory(folder / "emoji");
    std::string captions = "file,caption\n";
    for (int i = 0; i < 32; ++i) {  // some of 32 are among those that are not trained on
        const std::string name = std::to_string(i) + ".png";
        write_png(folder / "emoji" / name,
                  {8, 8, 3, std::vector<std::uint8_t>(192, static_cast<std::uint8_t>(7 * i))});
        captions += name + ",a grey square called " + std::to_string(i) + "\n";
    }
    put_text(folder / "emoji" / "captions.csv", captions);
    const std::string own = "folder:" + (folder / "emoji").string();
    for (const std::string& kind :
         {std::string("scenes"), std::string("words"), std::string("free_words"),
          std::string("builtin"), std::string("emoji"), own}) {
        CAPTURE(kind);
        const Pictures pictures =
            find_pictures(kind, kind == "emoji" ? folder.path().string() : "", 4, 7);
        CHECK(static_cast<bool>(pictures.unseen) == (kind == "emoji"));
        CHECK(static_cast<bool>(pictures.caption) == (kind != "builtin"));
        if (kind == own) {  // there are no others, and it is said
            CHECK(pictures.others == "pictures of the training set");
            CHECK(pictures.caption(3).starts_with("a grey square called"));
            CHECK(pictures.caption(35) == pictures.caption(3));
            continue;
        }
        Arena arena;
        const Tensor<float> batch = pictures.train(arena, 3, 0, 4).x0;
        REQUIRE(batch.shape() == Shape{4, pictures.height, pictures.width, pictures.channels});
        const Tensor<float> again = pictures.train(arena, 3, 2, 2).x0;
        CHECK(std::equal(again.begin(), again.end(), batch[2].data()));
        const Array<float> others = pictures.held_out(0, 3), last = pictures.held_out(2, 1);
        CHECK(std::equal(last.begin(), last.end(), others.tensor()[2].data()));
        const Tensor<float> first = pictures.train(arena, 0, 0, 3).x0;  // 0 .. 2 of the training
        CHECK(!std::equal(first.begin(), first.end(), others.begin()));
        CHECK(pictures.identity.at("data") == pictures.name);
        if (kind == "builtin") continue;  // those are shuffled
        // Canvas i is what the training streams as number i, and what caption i is about.
        const Array<float> learned = pictures.learned(14, 2);
        CHECK(std::equal(learned.begin(), learned.end(), batch[2].data()));
        CHECK(!pictures.caption(14).empty());
        if (!pictures.unseen) continue;
        const Array<float> unseen = pictures.unseen(14, 2);
        CHECK(!std::equal(unseen.begin(), unseen.end(), learned.begin()));
    }
}

TEST_SUITE_END();
