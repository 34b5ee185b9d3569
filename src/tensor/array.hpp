#pragma once
// Array<T>: the owner of a block of numbers with a shape. What kernels read lies in one of these or
// in an Arena, so that it starts on a cache line.
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "tensor/arena.hpp"

namespace diffusion {

/// Numbers in memory of their own, contiguous, kAlignment bytes aligned, zeros at first. It copies
/// like a value; tensor() is the view that everything else works on. As a range of numbers it also
/// converts to a std::span.
template <class T>
class Array {
    static_assert(std::is_trivially_copyable_v<T>, "an Array holds numbers");

public:
    using value_type = T;

    Array() = default;
    explicit Array(const Shape& shape) : Array(uninitialised(shape)) {
        std::fill(begin(), end(), T());
    }
    /// Numbers of any value, for an owner that writes all of them: the threads that do so are then
    /// the first to touch the memory.
    static Array uninitialised(const Shape& shape) {
        Array array;
        array.data_.reset(
            static_cast<T*>(kHeap.allocate(sizeof(T) * static_cast<std::size_t>(shape.numel()))));
        array.shape_ = shape;
        return array;
    }
    template <std::integral Count>
    static Array uninitialised(Count count) {
        return uninitialised(line(static_cast<std::ptrdiff_t>(count)));
    }
    /// One axis of `count` numbers.
    template <std::integral Count>
    explicit Array(Count count) : Array(line(static_cast<std::ptrdiff_t>(count))) {}

    Array(const Array& other) : Array(other.shape_) {
        std::copy(other.begin(), other.end(), begin());
    }
    Array(Array&& other) noexcept { swap(other); }
    Array& operator=(Array other) noexcept {
        swap(other);
        return *this;
    }
    ~Array() = default;

    std::size_t size() const { return static_cast<std::size_t>(shape_.numel()); }
    bool empty() const { return size() == 0; }
    const Shape& shape() const { return shape_; }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    T* begin() { return data(); }
    T* end() { return data() + size(); }
    const T* begin() const { return data(); }
    const T* end() const { return data() + size(); }
    T& operator[](std::size_t i) { return data()[i]; }
    const T& operator[](std::size_t i) const { return data()[i]; }

    std::span<T> span() { return {data(), size()}; }
    std::span<const T> span() const { return {data(), size()}; }
    Tensor<T> tensor() { return {data(), shape_}; }
    Tensor<const T> tensor() const { return {data(), shape_}; }
    operator Tensor<T>() { return tensor(); }
    operator Tensor<const T>() const { return tensor(); }

    /// Equal shapes and equal numbers.
    friend bool operator==(const Array& a, const Array& b) {
        return a.shape_ == b.shape_ && std::equal(a.begin(), a.end(), b.begin(), b.end());
    }

private:
    struct Free {
        void operator()(T* memory) const { kHeap.free(memory); }
    };

    static Shape line(std::ptrdiff_t count) {
        require(count >= 0, "array: a size is negative: ", count);
        require(count <= std::numeric_limits<int>::max(), "array: ", count,
                " numbers are too many for one axis");
        return {static_cast<int>(count)};
    }
    void swap(Array& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(shape_, other.shape_);
    }

    std::unique_ptr<T[], Free> data_;
    Shape shape_{0};
};

}  // namespace diffusion
