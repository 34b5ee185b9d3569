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

/// Reads all of `text` as a number in the range that `range` tells, and `range_above` for numbers
/// that are too large for the type. Returns what is wrong with it, or nothing; a whole number is
/// then written anew, because CLI11 would take 010 for 8 and -1 for a large positive number.
template <class T>
std::string read_number(std::string& text, T& value, const std::string& range,
                        const std::string& range_above) {
    if constexpr (std::integral<T>) {
        const bool negative = text.starts_with('-');
        const std::string outside =
            "expected " + (negative ? range : range_above) + ", got " + text;
        if (std::unsigned_integral<T> && negative) return outside;
        const char* end = text.data() + text.size();
        const auto [rest, error] = std::from_chars(text.data(), end, value);
        if (error == std::errc::result_out_of_range) return outside;
        if (error != std::errc() || rest != end) return "expected a whole number, got " + text;
        text = as_written(value);
        return {};
    } else {
        return CLI::detail::lexical_cast(text, value) ? "" : "expected a number, got " + text;
    }
}

/// Numbers of which `fits` is true: `range` says which these are.
template <class T, class Fits>
CLI::Validator numbers(const std::string& range, const std::string& range_above, Fits fits) {
    return CLI::Validator(
        [=](std::string& text) {
            T value{};
            const std::string wrong = read_number(text, value, range, range_above);
            if (!wrong.empty()) return wrong;
            return fits(value) ? std::string() : "expected " + range + ", got " + text;
        },
        range);
}

/// `least` or more. The type is that of the option: at_least(1) for an int.
template <class T>
CLI::Validator at_least(T least) {
    const T most = std::numeric_limits<T>::max();
    return numbers<T>(as_written(least) + " or more", as_written(least) + " to " + as_written(most),
                      [=](T value) { return value >= least && value <= most; });
}

/// More than `bound`.
inline CLI::Validator above(double bound) {
    const std::string range = "more than " + as_written(bound);
    return numbers<double>(range, range, [=](double value) {
        return value > bound && value <= std::numeric_limits<double>::max();
    });
}

/// `least` to `most`.
template <class T>
CLI::Validator between(T least, T most) {
    const std::string range = as_written(least) + " to " + as_written(most);
    return numbers<T>(range, range, [=](T value) { return value >= least && value <= most; });
}

}  // namespace diffusion
