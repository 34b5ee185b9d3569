#include "02_gradients/parameters.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "kernels/threads.hpp"
#include "kernels/weights.hpp"
#include "tensor/random.hpp"

namespace diffusion {
namespace {

std::vector<int> file_shape(const Shape& s, Layout layout) {
    if (layout == Layout::linear) return {s[1], s[0]};
    if (layout == Layout::conv) return {s[3], s[2], s[0], s[1]};
    return {s.n.begin(), s.n.begin() + s.rank};
}

/// What peers save beside the weights, and make anew when they load them.
bool is_buffer(const std::string& name) {
    return name == "position_ids" || name.ends_with(".position_ids");  // 0, 1, 2, ..
}

/// Calls visit(here, there) with the index of every number in our order and in the file's.
template <class Visit>
void for_each_number(const Shape& s, Layout layout, Visit visit) {
    const std::ptrdiff_t out = s.back(), in = layout == Layout::plain ? 1 : s[s.rank - 2];
    const std::ptrdiff_t n = s.numel(), taps = layout == Layout::plain
                                                   ? n / std::max<std::ptrdiff_t>(out, 1)
                                                   : n / (in * out);
    for (std::ptrdiff_t k = 0; k < taps; ++k) {
        for (std::ptrdiff_t i = 0; i < in; ++i) {
            for (std::ptrdiff_t o = 0; o < out; ++o) {
                const std::ptrdiff_t here = (k * in + i) * out + o;
                visit(static_cast<std::size_t>(here),
                      static_cast<std::size_t>(layout == Layout::plain ? here
                                                                       : (o * in + i) * taps + k));
            }
        }
    }
}

std::string shape_text(const std::vector<int>& shape) {
    std::string text = "[";
    for (std::size_t i = 0; i < shape.size(); ++i)
        text += (i ? "," : "") + std::to_string(shape[i]);
    return text + "]";
}

/// A part of a parameter that one thread reads: rows of the file's [out, in, ..], or numbers of a
/// plain one.
struct Piece {
    const StoredTensor* tensor;
    Parameter where;
    Layout layout;
    std::ptrdiff_t first, count;
};

void add_pieces(const StoredTensor& tensor, const Parameter& where, Layout layout,
                std::vector<Piece>& pieces) {
    constexpr std::ptrdiff_t kNumbers = 1 << 18;  // a megabyte: it stays in a core's own cache
    const std::ptrdiff_t n = where.shape.numel();
    if (n == 0) return;
    const std::ptrdiff_t rows = layout == Layout::plain ? n : where.shape.back();
    const std::ptrdiff_t most =
        std::max(kWeightTile, kNumbers / (n / rows) / kWeightTile * kWeightTile);
    for (std::ptrdiff_t first = 0; first < rows; first += most)
        pieces.push_back({&tensor, where, layout, first, std::min(most, rows - first)});
}

/// To its place in the block. `rows` is scratch memory of the thread.
template <class T>
void read_piece(const SafetensorsFile& file, const Piece& piece, T* block, std::vector<T>& rows) {
    T* const x = block + piece.where.offset + piece.first;
    const auto first = static_cast<std::uint64_t>(piece.first);
    const auto count = static_cast<std::size_t>(piece.count);
    if (piece.layout == Layout::plain) {
        file.read<T>(*piece.tensor, first, {x, count});
        return;
    }
    const Shape& s = piece.where.shape;
    const std::ptrdiff_t out = s.back(), in = s[s.rank - 2], taps = s.numel() / (in * out);
    const auto length = static_cast<std::size_t>(in * taps);
    if (rows.size() < count * length) rows.resize(count * length);
    file.read<T>(*piece.tensor, first * length, {rows.data(), count * length});
    rows_to_columns(rows.data(), piece.count, in, taps, x, out);
}

}  // namespace

Parameter ParameterList::add(std::string name, Shape shape, Layout layout, Init init) {
    for (const Entry& entry : entries_)
        require(entry.name != name, "parameters: two are named ", name);
    const Parameter where{block_, shape};
    entries_.push_back({std::move(name), where, layout, init});
    // Every parameter starts on a cache line; the gap holds zeros that no operation reads.
    constexpr std::ptrdiff_t kLine = static_cast<std::ptrdiff_t>(kAlignment / sizeof(float));
    count_ += shape.numel();
    block_ += (shape.numel() + kLine - 1) / kLine * kLine;
    return where;
}

const std::string& ParameterList::name_at(std::ptrdiff_t offset) const {
    require(offset >= 0 && offset < block_, "parameters: no element ", offset, " among ", block_);
    return std::prev(std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.where.offset > offset; }))
        ->name;
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
    std::fill(values.begin(), values.end(), T(0));
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
        if (!entry.name.starts_with(prefix)) continue;
        NamedArray array{
            entry.name.substr(prefix.size()), file_shape(entry.where.shape, entry.layout), {}};
        array.values.resize(static_cast<std::size_t>(entry.where.shape.numel()));
        const T* x = values.data() + entry.where.offset;
        for_each_number(entry.where.shape, entry.layout, [&](std::size_t here, std::size_t there) {
            array.values[there] = static_cast<float>(x[here]);
        });
        arrays.push_back(std::move(array));
    }
    return arrays;
}

std::vector<std::pair<const ParameterList::Entry*, const StoredTensor*>> ParameterList::found_in(
    const SafetensorsFile& file, const Loading& how) const {
    const std::string path = file.path().string();
    std::map<std::string, const StoredTensor*> by_name;
    for (const StoredTensor& tensor : file.tensors()) by_name[tensor.name] = &tensor;
    std::vector<std::pair<const Entry*, const StoredTensor*>> found;
    for (const Entry& entry : entries_) {
        if (!entry.name.starts_with(how.prefix)) continue;
        const std::string name = entry.name.substr(how.prefix.size());
        const auto at = by_name.find(name);
        if (at == by_name.end()) {
            require(!how.all, path, ": the parameter ", name, " is missing");
            continue;
        }
        const std::vector<int> expected = file_shape(entry.where.shape, entry.layout);
        require(at->second->shape == expected, path, ": the parameter ", name, " has shape ",
                shape_text(at->second->shape), ", expected ", shape_text(expected));
        found.emplace_back(&entry, at->second);
        by_name.erase(at);
    }
    std::erase_if(by_name, [](const auto& rest) { return is_buffer(rest.first); });
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
    for (const auto& [entry, tensor] : found_in(file, how))
        add_pieces(*tensor, entry->where, entry->layout, pieces);
    const int threads = in_parallel() ? 1 : thread_count();
    parallel_for(threads, threads, [&](int thread) {
        std::vector<T> rows;
        for (std::ptrdiff_t p = thread; p < std::ssize(pieces); p += threads)
            read_piece(file, pieces[static_cast<std::size_t>(p)], values.data(), rows);
    });
}

template <class T>
Array<T> ParameterList::from_file(const SafetensorsFile& file) const {
    found_in(file, {});  // before there is memory for a model that does not fit
    auto values = Array<T>::uninitialised(block_);
    for (std::size_t e = 0; e < entries_.size(); ++e) {  // the gaps are zeros
        const Parameter& p = entries_[e].where;
        const std::ptrdiff_t next = e + 1 < entries_.size() ? entries_[e + 1].where.offset : block_;
        std::fill(values.data() + p.offset + p.shape.numel(), values.data() + next, T(0));
    }
    load<T>(values, file, {});
    return values;
}

#define DIFFUSION_INSTANTIATE(T)                                                         \
    template void ParameterList::initialise(std::span<T>, std::uint64_t) const;          \
    template std::vector<NamedArray> ParameterList::to_arrays(std::span<const T>,        \
                                                              const std::string&) const; \
    template Array<T> ParameterList::from_file(const SafetensorsFile&) const;            \
    template void ParameterList::load(std::span<T>, const SafetensorsFile&, const Loading&) const;
DIFFUSION_INSTANTIATE(float)
DIFFUSION_INSTANTIATE(double)
#undef DIFFUSION_INSTANTIATE

}  // namespace diffusion
