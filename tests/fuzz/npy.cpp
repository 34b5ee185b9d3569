// One NumPy array.
#include "io/npy.hpp"

#include <algorithm>

#include "fuzz/fuzz.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion::fuzz {
namespace {

std::string npy(char version, const std::string& header, const std::string& data) {
    const auto n = static_cast<std::uint32_t>(header.size());
    return std::string("\x93NUMPY") + version + '\0' +
           (version == 1 ? bytes_of<std::uint16_t>({static_cast<std::uint16_t>(n)})
                         : bytes_of<std::uint32_t>({n})) +
           header + data;
}

}  // namespace

std::vector<std::string> seeds() {
    const std::string data = bytes_of<float>({-1, 0.5f, 1, 2});
    return {
        npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 2, 1), }     \n", data),
        npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n", data),
        npy(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1)}\n", data),
        npy(3, "{\"descr\": \"|u1\", 'fortran_order': False, 'shape': (4, 2, 2), }\n", data),
        npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", data.substr(0, 4)),
        npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }\n", ""),
        npy(1, "{'descr': '>i2', 'fortran_order': True, 'shape': (8,), }\n", data),
        npy(1, "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (4,), }\n", data)};
}

void check(const std::string& input) {
    const auto path = folder() / "x.npy", again = folder() / "y.npy";
    put_text(path, input);
    NpyArray x;
    if (!accepted(path.string(), [&] { x = read_npy(path); })) return;
    std::size_t count = 1;
    for (const int size : x.shape) count *= static_cast<std::size_t>(size);
    must(count == x.values.size() && count <= input.size(), "as many numbers as the shape says");
    must(!shape_text(x.shape).empty() && (!x.has_channels_first() || x.shape.size() == 4),
         "its shape");
    if (x.shape.size() > Shape::kMaxRank) return;
    Shape shape;
    shape.rank = static_cast<int>(x.shape.size());
    std::ranges::copy(x.shape, shape.n.begin());
    write_npy(again, {x.values.data(), shape});
    const NpyArray back = read_npy(again);
    must(back.shape == x.shape && same_bits<float>(back.values, x.values),
         "written and read again");
}

}  // namespace diffusion::fuzz
