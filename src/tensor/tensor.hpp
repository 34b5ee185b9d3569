#pragma once
// Tensor<T>: a view of a contiguous block of numbers with up to four sizes. It owns nothing and
// copies like a pointer.
#include <array>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <ostream>
#include <span>
#include <type_traits>

#include "tensor/check.hpp"

namespace diffusion {

/// Sizes of a tensor, outermost first. The last size is the one that is contiguous in memory.
struct Shape {
    static constexpr int kMaxRank = 4;
    std::array<int, kMaxRank> n{};
    int rank = 0;

    Shape() = default;
    Shape(std::initializer_list<int> sizes);

    int operator[](int i) const { return n[static_cast<std::size_t>(i)]; }
    int back() const { return rank == 0 ? 1 : (*this)[rank - 1]; }
    std::ptrdiff_t numel() const;
    bool operator==(const Shape& other) const = default;
};

inline Shape::Shape(std::initializer_list<int> sizes) {
    require(sizes.size() <= kMaxRank, "shape: at most 4 sizes, got ", sizes.size());
    for (int size : sizes) {
        require(size >= 0, "shape: a size is negative: ", size);
        n[static_cast<std::size_t>(rank++)] = size;
    }
}

inline std::ptrdiff_t Shape::numel() const {
    std::ptrdiff_t product = 1;
    for (int i = 0; i < rank; ++i) product *= (*this)[i];
    return product;
}

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
    out << '[';
    for (int i = 0; i < shape.rank; ++i) out << (i ? "," : "") << shape[i];
    return out << ']';
}

/// How many pixels each of the images [N,H,W,C] has. Fails if an int cannot count them.
inline int pixels_of(const Shape& images) {
    const std::ptrdiff_t pixels = static_cast<std::ptrdiff_t>(images[1]) * images[2];
    require(pixels <= std::numeric_limits<int>::max(), "images ", images, ": too many pixels");
    return static_cast<int>(pixels);
}

template <class T>
class Tensor {
public:
    using value_type = std::remove_const_t<T>;

    Tensor() = default;
    Tensor(T* data, Shape shape) : data_(data), shape_(shape) {}

    /// A view of mutable numbers converts to a view of constant ones.
    operator Tensor<const value_type>() const requires(!std::is_const_v<T>) {
        return {data_, shape_};
    }

    T* data() const { return data_; }
    const Shape& shape() const { return shape_; }
    int rank() const { return shape_.rank; }
    int size(int i) const { return shape_[i]; }
    std::ptrdiff_t numel() const { return shape_.numel(); }
    explicit operator bool() const { return data_ != nullptr; }

    /// All numbers in memory order.
    std::span<T> flat() const { return {data_, static_cast<std::size_t>(numel())}; }
    T* begin() const { return data_; }
    T* end() const { return data_ + numel(); }

    /// x[i]: the i-th slice along the first axis.
    Tensor operator[](int i) const {
        Shape rest;
        rest.rank = shape_.rank - 1;
        for (int k = 0; k < rest.rank; ++k) rest.n[static_cast<std::size_t>(k)] = shape_[k + 1];
        return {data_ + i * rest.numel(), rest};
    }

    T& operator()(int i) const { return data_[i]; }
    T& operator()(int i, int j) const {
        return data_[static_cast<std::ptrdiff_t>(i) * shape_[1] + j];
    }
    T& operator()(int i, int j, int k) const {
        return data_[(static_cast<std::ptrdiff_t>(i) * shape_[1] + j) * shape_[2] + k];
    }
    T& operator()(int i, int j, int k, int l) const {
        return data_[((static_cast<std::ptrdiff_t>(i) * shape_[1] + j) * shape_[2] + k) *
                         shape_[3] +
                     l];
    }

    /// The same numbers under another shape with as many elements.
    Tensor reshape(Shape shape) const {
        require(shape.numel() == numel(), "reshape: ", shape_, " has not as many elements as ",
                shape);
        return {data_, shape};
    }

    /// Rows of the last axis: [.., C] seen as [rows, C].
    Tensor rows() const {
        const int last = shape_.back();
        const std::ptrdiff_t count = last == 0 ? 0 : numel() / last;
        require(count <= std::numeric_limits<int>::max(), "rows: ", shape_, " has too many");
        return reshape({static_cast<int>(count), last});
    }

private:
    T* data_ = nullptr;
    Shape shape_;
};

/// Fails with the operation's name and both shapes unless all tensors have one shape.
template <class T, class U, class... More>
void require_same_shape(const char* operation, const Tensor<T>& a, const Tensor<U>& b,
                        const More&... more) {
    require(a.shape() == b.shape(), operation, ": shapes differ: ", a.shape(), " and ", b.shape());
    if constexpr (sizeof...(more) > 0) require_same_shape(operation, b, more...);
}

}  // namespace diffusion
