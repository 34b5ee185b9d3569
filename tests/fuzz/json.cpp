// JSON.
#include "io/json.hpp"

#include "fuzz/fuzz.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    return {R"({"a": [1, -2, 0.5, 1e-9, 18446744073709551615], "b": {"c": null, "d": true}})",
            R"(["\u00e9\ud83d\ude00\n", "é", ""])",
            "[[[[[[[[]]]]]]]]",
            "-0.0",
            "\xef\xbb\xbf{}",
            R"({"a":1,"a":2})",
            std::string(70, '[')};
}

void check(const std::string& input) {
    const auto path = folder() / "x.json";
    nlohmann::json value, again;
    in_quotes(input);
    if (!accepted("where: ", [&] { value = parse_json(input, "where"); })) return;
    again = parse_json(value.dump(), "where");
    must(again == value && again.dump() == value.dump(), "written and read again");
    write_json(path, value);
    must(read_json(path) == value, "written and read again, as a file");
}

}  // namespace diffusion::fuzz
