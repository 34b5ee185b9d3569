// A ZIP archive, with a NumPy array in it or without.
#include "fuzz/fuzz.hpp"
#include "io/files.hpp"
#include "io/npy.hpp"
#include "io/zip.hpp"
#include "support/zip_file.hpp"

namespace diffusion::fuzz {

std::vector<std::string> seeds() {
    using namespace std::string_literals;
    const std::string array =
        "\x93NUMPY\x01\0\x3a\0{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }\n\n\n\n\1\2\3\4"s;
    std::vector<std::string> all;
    for (const bool pack : {false, true}) {
        all.push_back(zip_of({{"arr_0.npy", array}}, pack));
        all.push_back(zip_of({{"x.npy", array}, {"arr_0.npy", array}}, pack));
        all.push_back(zip_of({{"folder/", ""}, {"y.npy", std::string(200, 'y')}}, pack));
        all.push_back(zip_of({{"a", "1"}, {"b", ""}}, pack) + "a comment");
    }
    all.push_back(zip_of({}, false));
    return all;
}

void check(const std::string& input) {
    constexpr std::size_t kFew = 3;
    const auto path = folder() / "x.npz", again = folder() / "y.npz";
    put_text(path, input);
    accepted(path.string(), [&] { read_npz(path); });
    std::vector<std::string> names;
    if (!accepted(path.string(), [&] { names = ZipFile(path).names(); })) return;
    const ZipFile archive(path);
    must(!accepted(path.string(), [&] { archive.read("a name that no file has"); }),
         "no such file");
    if (names.size() > kFew) names.resize(kFew);
    for (const std::string& name : names) {
        std::vector<std::byte> content;
        if (!accepted(path.string(), [&] { content = archive.read(name); })) continue;
        must(content.size() / 1032 <= input.size(), "no more than deflate can make");
        for (const bool pack : {false, true}) {
            put_text(again, zip_of({{name, std::string(as_text(content))}}, pack));
            const ZipFile back(again);
            must(back.names() == std::vector{name} && back.read(name) == content,
                 "packed and unpacked again");
        }
    }
}

}  // namespace diffusion::fuzz
