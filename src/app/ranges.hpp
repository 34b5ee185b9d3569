#pragma once
// Which numbers an option takes. --help shows the range, and what is outside is refused in plain
// words: "--n: expected 1 or more, got 0".
#include <CLI/CLI.hpp>
#include <charconv>
#include <concepts>
#include <limits>
#include <sstream>
#include <string>
#include <system_error>

namespace diffusion {

/// A number as one would write it: 0.1, 10.
template <class T>
std::string as_written(T value) {
    std::ostringstream text;
    text << value;
    return text.str();
}

/// Reads all of `text` as a number. Returns what is wrong with it, or nothing; a whole number is
/// then written anew, because CLI11 would take 010 for 8 and -1 for a large positive number.
template <class T>
std::string read_number(std::string& text, T& value) {
    if constexpr (std::integral<T>) {
        const bool negative = text.starts_with('-');
        if (negative && std::unsigned_integral<T>) return "expected 0 or more, got " + text;
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        using Limits = std::numeric_limits<T>;
        if (error == std::errc::result_out_of_range)
            return "expected " +
                   (negative ? as_written(Limits::min()) + " or more"
                             : "at most " + as_written(Limits::max())) +
                   ", got " + text;
        if (error != std::errc() || rest != end) return "expected a whole number, got " + text;
        text = as_written(value);
        return {};
    } else {
        return CLI::detail::lexical_cast(text, value) ? "" : "expected a number, got " + text;
    }
}

/// Numbers of which `fits` is true: `range` says which these are.
template <class T, class Fits>
CLI::Validator numbers(const std::string& range, Fits fits) {
    return CLI::Validator(
        [=](std::string& text) {
            T value{};
            const std::string wrong = read_number(text, value);
            if (!wrong.empty()) return wrong;
            return fits(value) ? std::string() : "expected " + range + ", got " + text;
        },
        range);
}

/// `least` or more. The type is that of the option: at_least(1) for an int.
template <class T>
CLI::Validator at_least(T least) {
    return numbers<T>(as_written(least) + " or more", [=](T value) {
        return value >= least && value <= std::numeric_limits<T>::max();
    });
}

/// More than `bound`.
inline CLI::Validator above(double bound) {
    return numbers<double>("more than " + as_written(bound), [=](double value) {
        return value > bound && value <= std::numeric_limits<double>::max();
    });
}

/// `least` to `most`.
template <class T>
CLI::Validator between(T least, T most) {
    return numbers<T>(as_written(least) + " to " + as_written(most),
                      [=](T value) { return value >= least && value <= most; });
}

}  // namespace diffusion
