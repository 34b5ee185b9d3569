#include "02_gradients/parameters.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "kernels/threads.hpp"
#include "kernels/weights.hpp"
#include "tensor/dtype.hpp"
#include "tensor/finite.hpp"
#include "tensor/random.hpp"
#include "tensor/shape_text.hpp"

namespace diffusion {
namespace {

/// Of one of `parts` equal parts of a parameter's last axis.
std::vector<int> file_shape(const Shape& s, Layout layout, int parts) {
    const int out = s.back() / parts;
    if (layout == Layout::linear) return {out, s[s.rank - 2]};
    if (layout == Layout::conv) return {out, s[2], s[0], s[1]};
    std::vector<int> shape(s.n.begin(), s.n.begin() + s.rank);
    if (!shape.empty()) shape.back() = out;
    return shape;
}

/// What peers save beside the weights, and make anew when they load them.
bool is_buffer(const std::string& name) {
    return name == "position_ids" || name.ends_with(".position_ids");  // 0, 1, 2, ..
}

/// Where a tensor of a file goes: columns `column` .. `column` + `columns` - 1 of the parameter's
/// rows.
struct Columns {
    Parameter where;
    Layout layout;
    std::ptrdiff_t column, columns;

    std::ptrdiff_t stride() const { return where.shape.rank > 0 ? where.shape.back() : 1; }
    std::ptrdiff_t rows() const { return stride() > 0 ? where.shape.numel() / stride() : 0; }
    std::ptrdiff_t offset() const { return where.offset + column; }
};

Columns columns_of(const Parameter& where, Layout layout, int part, int parts) {
    const Columns all{where, layout, 0, 0};
    const std::ptrdiff_t columns = all.stride() / parts;
    return {where, layout, part * columns, columns};
}

/// A part of a tensor that one thread reads: rows of the file's [out, in, ..], or numbers of a
/// plain one.
struct Piece {
    const StoredTensor* tensor;
    Columns to;
    std::ptrdiff_t first, count;
};

void add_pieces(const StoredTensor& tensor, const Columns& to, std::vector<Piece>& pieces) {
    constexpr std::ptrdiff_t kNumbers = 1 << 18;  // a megabyte: it stays in a core's own cache
    const auto n = static_cast<std::ptrdiff_t>(tensor.count);
    if (n == 0) return;
    const std::ptrdiff_t rows = to.layout == Layout::plain ? n : to.columns;
    const std::ptrdiff_t most =
        std::max(kWeightTile, kNumbers / (n / rows) / kWeightTile * kWeightTile);
    for (std::ptrdiff_t first = 0; first < rows; first += most)
        pieces.push_back({&tensor, to, first, std::min(most, rows - first)});
}

/// To its place in the block. `rows` is scratch memory of the thread.
template <class T>
void read_piece(const SafetensorsFile& file, const Piece& piece, T* block, std::vector<T>& rows) {
    const Columns& to = piece.to;
    T* const x = block + to.offset() + piece.first;
    const bool plain = to.layout == Layout::plain;
    const Shape& s = to.where.shape;
    const std::ptrdiff_t in = plain ? 1 : s[s.rank - 2], taps = plain ? 1 : to.rows() / in;
    const auto length = static_cast<std::size_t>(in * taps);
    const auto numbers = static_cast<std::size_t>(piece.count) * length;
    if (!plain && rows.size() < numbers) rows.resize(numbers);
    const std::span<T> read(plain ? x : rows.data(), numbers);
    file.read<T>(*piece.tensor, static_cast<std::uint64_t>(piece.first) * length, read);
    require(all_finite(std::span<const T>(read)), file.place_of(*piece.tensor),
            ": holds a number that is not finite",
            std::is_same_v<T, Half> ? " in half precision" : "", "; this model is of no use");
    if (!plain) rows_to_columns(rows.data(), piece.count, in, taps, x, to.stride());
}

/// The columns in the order of a file.
template <class T>
std::vector<float> as_in_file(const T* block, const Columns& from) {
    std::vector<float> values;
    if (from.where.shape.numel() == 0) return values;
    values.reserve(static_cast<std::size_t>(from.rows() * from.columns));
    const auto put = [&](std::ptrdiff_t row, std::ptrdiff_t column) {
        values.push_back(static_cast<float>(block[from.offset() + row * from.stride() + column]));
    };
    if (from.layout == Layout::plain) {
        for (std::ptrdiff_t row = 0; row < from.rows(); ++row)
            for (std::ptrdiff_t c = 0; c < from.columns; ++c) put(row, c);
        return values;
    }
    const Shape& s = from.where.shape;
    const std::ptrdiff_t in = s[s.rank - 2], taps = from.rows() / in;
    for (std::ptrdiff_t c = 0; c < from.columns; ++c)
        for (std::ptrdiff_t i = 0; i < in; ++i)
            for (std::ptrdiff_t k = 0; k < taps; ++k) put(k * in + i, c);
    return values;
}

}  // namespace

Parameter ParameterList::add(std::string name, Shape shape, Layout layout, Init init) {
    return add_joined({std::move(name)}, shape, layout, init);
}

Parameter ParameterList::add_joined(std::vector<std::string> names, Shape shape, Layout layout,
                                    Init init) {
    const int parts = static_cast<int>(names.size());
    require(parts == 1 || (parts > 1 && layout != Layout::conv && shape.back() % parts == 0),
            "parameters: ", shape, " does not fall into ", parts, " parts");
    for (const std::string& name : names)
        for (const Entry& entry : entries_)
            require(std::ranges::find(entry.names, name) == entry.names.end(),
                    "parameters: two are named ", name);
    const Parameter where{block_, shape};
    entries_.push_back({std::move(names), where, layout, init});
    // Every parameter starts on a cache line; the gap holds zeros that no operation reads.
    constexpr std::ptrdiff_t kLine = static_cast<std::ptrdiff_t>(kAlignment / sizeof(float));
    count_ += shape.numel();
    block_ += (shape.numel() + kLine - 1) / kLine * kLine;
    return where;
}

const std::string& ParameterList::name_at(std::ptrdiff_t offset) const {
    require(offset >= 0 && offset < block_, "parameters: no element ", offset, " among ", block_);
    const Entry& entry = *std::prev(std::find_if(
        entries_.begin(), entries_.end(), [&](const Entry& e) { return e.where.offset > offset; }));
    const std::ptrdiff_t columns = entry.where.shape.back(),
                         column = (offset - entry.where.offset) % columns;
    return entry.names[static_cast<std::size_t>(column * std::ssize(entry.names) / columns)];
}

std::vector<Parameter> ParameterList::matrices() const {
    std::vector<Parameter> found;
    for (const Entry& entry : entries_) {
        const Shape& s = entry.where.shape;
        if (entry.layout != Layout::plain && s[s.rank - 2] >= 8 && s.back() >= 8)
            found.push_back(entry.where);
    }
    return found;
}

template <class T>
void ParameterList::initialise(std::span<T> values, std::uint64_t seed) const {
    require(std::ssize(values) == block_, "parameters: ", block_, " numbers, got room for ",
            values.size());
    std::fill(values.begin(), values.end(), T{});
    for (std::size_t e = 0; e < entries_.size(); ++e) {
        Random random(seed, Purpose::initial_weights, 0, static_cast<std::uint32_t>(e));
        const auto draw = [&random, init = entries_[e].init] {
            switch (init.kind) {
                case Init::Kind::uniform:
                    return init.size * (2 * random.uniform() - 1);
                case Init::Kind::normal:
                    return init.size * random.normal();
                default:
                    return init.size;
            }
        };
        T* x = values.data() + entries_[e].where.offset;
        for (std::ptrdiff_t i = 0; i < entries_[e].where.shape.numel(); ++i)
            x[i] = static_cast<T>(draw());
    }
}

template <class T>
std::vector<NamedArray> ParameterList::to_arrays(std::span<const T> values,
                                                 const std::string& prefix) const {
    std::vector<NamedArray> arrays;
    for (const Entry& entry : entries_) {
        const int parts = static_cast<int>(entry.names.size());
        for (int part = 0; part < parts; ++part) {
            const std::string& name = entry.names[static_cast<std::size_t>(part)];
            if (!name.starts_with(prefix)) continue;
            arrays.push_back(
                {name.substr(prefix.size()), file_shape(entry.where.shape, entry.layout, parts),
                 as_in_file(values.data(), columns_of(entry.where, entry.layout, part, parts))});
        }
    }
    return arrays;
}

std::vector<ParameterList::Match> ParameterList::found_in(const SafetensorsFile& file,
                                                          const Loading& how) const {
    const std::string path = file.path().string();
    std::map<std::string, const StoredTensor*> by_name;
    for (const StoredTensor& tensor : file.tensors()) {
        const std::string name = how.rename ? how.rename(tensor.name) : tensor.name;
        require(by_name.emplace(name, &tensor).second, file.place_of(tensor), ": the parameter ",
                name, " is in the file twice, once under an older name");
    }
    std::vector<Match> found;
    for (const Entry& entry : entries_) {
        const int parts = static_cast<int>(entry.names.size());
        for (int part = 0; part < parts; ++part) {
            const std::string& full = entry.names[static_cast<std::size_t>(part)];
            if (!full.starts_with(how.prefix)) continue;
            const std::string name = full.substr(how.prefix.size());
            const auto at = by_name.find(name);
            if (at == by_name.end()) {
                require(!how.all, path, ": the parameter ", name, " is missing");
                continue;
            }
            const std::vector<int> expected = file_shape(entry.where.shape, entry.layout, parts);
            require(at->second->shape == expected, path, ": the parameter ", name, " has shape ",
                    shape_text(at->second->shape), ", expected ", shape_text(expected));
            found.push_back({at->second, &entry, part});
            by_name.erase(at);
        }
    }
    std::erase_if(by_name, [&](const auto& rest) {
        return is_buffer(rest.first) ||
               std::ranges::find(how.pass_over, rest.first) != how.pass_over.end();
    });
    require(by_name.empty() || !how.only, path, ": this model has no parameter ",
            by_name.empty() ? "" : by_name.begin()->first);
    return found;
}

template <class T>
void ParameterList::load(std::span<T> values, const SafetensorsFile& file,
                         const Loading& how) const {
    require(std::ssize(values) == block_, "parameters: ", block_, " numbers, got room for ",
            values.size());
    std::vector<Piece> pieces;
    for (const Match& m : found_in(file, how)) {
        const int parts = static_cast<int>(m.entry->names.size());
        add_pieces(*m.tensor, columns_of(m.entry->where, m.entry->layout, m.part, parts), pieces);
    }
    const int threads = in_parallel() ? 1 : thread_count();
    parallel_for(threads, threads, [&](int thread) {
        std::vector<T> rows;
        for (std::ptrdiff_t p = thread; p < std::ssize(pieces); p += threads)
            read_piece(file, pieces[static_cast<std::size_t>(p)], values.data(), rows);
    });
}

template <class T>
Array<T> ParameterList::from_file(const SafetensorsFile& file, const Loading& how) const {
    found_in(file, how);  // before there is memory for a model that does not fit
    auto values = Array<T>::uninitialised(block_);
    for (std::size_t e = 0; e < entries_.size(); ++e) {  // the gaps are zeros
        const Parameter& p = entries_[e].where;
        const std::ptrdiff_t next = e + 1 < entries_.size() ? entries_[e + 1].where.offset : block_;
        std::fill(values.data() + p.offset + p.shape.numel(), values.data() + next, T{});
    }
    load<T>(values, file, how);
    return values;
}

#define DIFFUSION_INSTANTIATE(T)                                                              \
    template void ParameterList::initialise(std::span<T>, std::uint64_t) const;               \
    template std::vector<NamedArray> ParameterList::to_arrays(std::span<const T>,             \
                                                              const std::string&) const;      \
    template Array<T> ParameterList::from_file(const SafetensorsFile&, const Loading&) const; \
    template void ParameterList::load(std::span<T>, const SafetensorsFile&, const Loading&) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
DIFFUSION_INSTANTIATE(Half)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
