// A command line: one argument a line.
#include <charconv>

#include "app/app.hpp"
#include "app/ranges.hpp"
#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {
namespace {

/// A number is taken or refused in words, and what is taken is written as it will be read.
template <class T>
void check_number(const CLI::Validator& validator, const std::string& input) {
    std::string text = input;
    const std::string wrong = validator(text);
    if (!wrong.empty()) return must(wrong.starts_with("expected "), wrong);
    T value{};
    if constexpr (std::is_integral_v<T>) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        must(error == std::errc() && end == text.data() + text.size(), "a whole number: " + text);
        must(text == as_written(value), "as it is written: " + text);
    } else {
        must(CLI::detail::lexical_cast(text, value) && value >= 0 && value < 1e308, text);
    }
}

}  // namespace

std::vector<std::string> seeds() {
    return {"--n\n4\n--multipliers\n1,2,2\n--eta\n0.5\n--seed=18446744073709551615",
            "--preset\nsmoke\n--threads\n010\n--out\nout/x\n--resume",
            "--multipliers=1,,2\n--n=-1\n--eta=nan",
            "--eta=1e400",
            "--eta=0x1p-3\n--help",
            "--multipliers\n1\n2\n2"};
}

void check(const std::string& input) {
    check_number<int>(at_least(1), input);
    check_number<std::uint64_t>(at_least(std::uint64_t{0}), input);
    check_number<std::int64_t>(between(std::int64_t{-5}, std::int64_t{5}), input);
    check_number<double>(between(0.1, 10.0), input);
    check_number<double>(above(0), input);

    CLI::App app("a program", "program");
    CommonOptions common;
    std::vector<int> multipliers;
    int n = 1;
    double eta = 1;
    app.add_option("--multipliers", multipliers)->delimiter(',')->transform(at_least(1));
    app.add_option("--n", n)->transform(between(1, 100));
    app.add_option("--eta", eta)->transform(between(0.0, 1.0));
    add_common_options(app, common, "04_unet");
    std::vector<std::string> arguments;  // the last comes first
    for (std::size_t at = 0; at <= input.size();) {
        const std::size_t end = std::min(input.find('\n', at), input.size());
        arguments.insert(arguments.begin(), input.substr(at, end - at));
        at = end + 1;
    }
    try {
        app.parse(arguments);
    } catch (const CLI::Error&) {  // --help is one
        return;
    }
    for (const int multiplier : multipliers) must(multiplier >= 1, "multipliers are positive");
    must(n >= 1 && n <= 100 && eta >= 0 && eta <= 1, "numbers are in their range");
    must(common.threads >= 0 && common.threads <= kMostThreads, "threads are in their range");
}

}  // namespace diffusion::fuzz
