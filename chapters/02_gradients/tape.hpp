#pragma once
// Reverse-mode differentiation: a tape of operations, each with its hand-written vector-Jacobian
// product (VJP).
#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/weights.hpp"
#include "tensor/arena.hpp"
#include "tensor/finite.hpp"

namespace diffusion {

// What the tape itself does with numbers. For numbers that lie on a GPU there are others
// (gradients.cu).
template <class T>
void fill(Tensor<T> x, T value) {
    for (T& v : x) v = value;
}
/// into = c x, or into += c x with `add`.
template <class T>
void write_or_add(Tensor<T> into, T c, Tensor<T> x, bool add) {
    T* to = into.data();
    const T* from = x.data();
    const std::ptrdiff_t n = into.numel();
    if (add) {  // NOLINT(bugprone-branch-clone): the pragmas hide the loops from it
#pragma omp simd
        for (std::ptrdiff_t i = 0; i < n; ++i) to[i] += c * from[i];
    } else {
#pragma omp simd
        for (std::ptrdiff_t i = 0; i < n; ++i) to[i] = c * from[i];
    }
}
template <class T>
bool all_finite(Tensor<T> x) {
    return all_finite(std::span<const T>(x.data(), static_cast<std::size_t>(x.numel())));
}

/// Where a parameter lies in its model's block, in elements, and its shape.
struct Parameter {
    std::ptrdiff_t offset = 0;
    Shape shape;
};

template <class T>
class Tape;

/// A value on the tape and its gradient: the derivative of the loss with respect to every element
/// of the value (2.3).
template <class T>
class Var {
public:
    Var() = default;

    Tensor<T> value() const { return node_->value; }
    const Shape& shape() const { return node_->value.shape(); }
    int size(int i) const { return shape()[i]; }
    Tape<T>& tape() const { return *node_->tape; }

    /// Whether there is a value: optional arguments are Vars that were never set.
    explicit operator bool() const { return node_ != nullptr; }

    /// Whether anything below depends on a parameter or an input whose gradient is asked for.
    bool needs_grad() const { return node_ != nullptr && node_->needs_grad; }

    /// The gradient, to be added to; it starts as zeros at its first use.
    Tensor<T> grad() const {
        bool add = true;
        const Tensor<T> g = grad_or_room(add);
        if (!add) fill(g, T(0));
        return g;
    }

    /// The same for a VJP that reaches all of the gradient and can either write or add. At the
    /// first use `add` is false and the memory holds nothing yet, so no zeros need to be written
    /// first.
    Tensor<T> grad_or_room(bool& add) const {
        add = static_cast<bool>(node_->grad);
        if (!add) node_->grad = tape().room(shape());
        return node_->grad;
    }

    /// grad += c share, where share has the shape of the value.
    void add_to_grad(Tensor<T> share, T c = T(1)) const {
        bool add = true;
        const Tensor<T> g = grad_or_room(add);
        write_or_add(g, c, share, add);
    }

    /// Passes the gradient on to x, of which this value is the sum with something else, in a VJP
    /// that has no other use for it: the memory changes hands, if x has no gradient yet.
    void hand_gradient_to(Var x) const {
        if (x.node_->grad) {
            x.add_to_grad(node_->grad);
        } else {
            std::swap(x.node_->grad, node_->grad);
        }
    }

private:
    friend class Tape<T>;
    struct Node {
        Tape<T>* tape;
        Tensor<T> value, grad;
        bool needs_grad;
        std::ptrdiff_t made;  // how many VJPs had been recorded when its memory was taken
        Node* owner;          // whose memory it is: this node's own, or the one's it is an alias of
    };
    explicit Var(Node* node) : node_(node) {}
    Node* node_ = nullptr;
};

/// Records operations as they run. backward() walks them in reverse order and lets each one's VJP
/// add to the gradients of its inputs. All memory comes from the arena, so that a step after the
/// first allocates nothing from the heap.
template <class T>
class Tape {
public:
    explicit Tape(Arena& arena) : Tape(arena, arena) {}
    /// With numbers in memory of another kind, on a GPU.
    Tape(Arena& arena, Arena& numbers)
        : arena_(arena), numbers_(numbers), scratch_(numbers.source()) {}
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;

    /// Memory that lives until reset(), for what operations and their VJPs need.
    Arena& arena() const { return arena_; }
    /// The same for numbers, values and gradients: usually the same arena.
    Arena& numbers() const { return numbers_; }
    /// Memory for one operation, inside an Arena::Scope. It is not the arena, because a gradient
    /// that is first touched inside the scope must outlive it.
    Arena& scratch() { return scratch_; }

    /// A constant: data, labels, noise.
    Var<T> constant(Tensor<T> value) { return node(value, {}, false); }
    /// A leaf whose gradient is wanted; pass `grad` to have it added to memory of your own.
    Var<T> leaf(Tensor<T> value, Tensor<T> grad = {}) { return node(value, grad, true); }
    /// The parameters of a model lie in one block of values and one of gradients (parameters.hpp).
    /// Without gradients they are constants, and only what depends on a leaf is recorded: that is
    /// how a trained model is run.
    void bind(T* values, T* gradients = nullptr) {
        parameter_values_ = values;
        parameter_gradients_ = gradients;
        parameter_halves_ = nullptr;
    }
    /// The same with values in half precision. A parameter's are widened where it is asked for.
    /// What they became is a result like others: layers give large weights back when they have read
    /// them, and the rest goes with the part of the network that it is in.
    void bind(const Half* values) {
        bind(static_cast<T*>(nullptr));
        parameter_halves_ = values;
    }
    /// Whether the parameters' gradients are wanted.
    bool trains() const { return parameter_gradients_ != nullptr; }
    Var<T> parameter(const Parameter& p) {
        last_parameter_ = p.offset;
        if constexpr (std::is_floating_point_v<T>) {  // not on a GPU
            if (parameter_halves_ != nullptr) {
                const Var<T> x = result(p.shape);
                widen(parameter_halves_ + p.offset, x.value());
                return x;
            }
        }
        require(parameter_values_ != nullptr, "tape: bind() the parameters first");
        const Tensor<T> value(parameter_values_ + p.offset, p.shape);
        if (parameter_gradients_ == nullptr) return constant(value);
        return leaf(value, {parameter_gradients_ + p.offset, p.shape});
    }

    /// Room for the result of an operation on `inputs`.
    template <class... Inputs>
    Var<T> result(Shape shape, const Inputs&... inputs) {
        results_.push_back(node(room(shape), {}, (inputs.needs_grad() || ...), recorded()));
        return results_.back();
    }
    /// Room for what the VJP of an operation needs besides its inputs and its result.
    Tensor<T> aside(Shape shape) { return result(shape).value(); }

    /// A result that is the memory of `of` seen differently.
    template <class... Inputs>
    Var<T> alias(Var<T> of, Tensor<T> value, const Inputs&... inputs) {
        const Var<T> x = node(value, {}, (of.needs_grad() || ... || inputs.needs_grad()));
        x.node_->owner = of.node_->owner;
        return x;
    }

    /// Says that x, the result of an operation, was read for the last time. If no VJP will read it
    /// either, a later result takes its place, in memory that is still in the cache. A VJP that
    /// reads x was recorded after x was made: where none was recorded since, none reads it.
    void done(Var<T> x) {
        typename Var<T>::Node& owner = *x.node_->owner;
        if (owner.made != recorded()) return;
        give_back(owner.value);
        owner.made = kNotOurs;  // from now on
    }

    /// What `part` returns, a part of a network of whose results none but that is read afterwards.
    /// The others are done, all at once. So training keeps what its VJPs read, and a network that
    /// is only run holds what lies between its parts, and the results of one part at a time.
    template <class Part>
    Var<T> result_of(Part part) {
        const std::ptrdiff_t first = std::ssize(results_);
        const Var<T> y = part(), kept(y.node_->owner);
        for (auto x = results_.begin() + first; x != results_.end(); ++x)
            if (x->node_ != kept.node_) done(*x);
        results_.resize(static_cast<std::size_t>(first));
        results_.push_back(kept);  // for the part around this one
        return y;
    }

    /// Remembers how to pull the gradient of `output` back to the inputs. `vjp` is kept by copy.
    template <class Vjp>
    void record(Var<T> output, Vjp vjp) {
        static_assert(std::is_trivially_destructible_v<Vjp>, "capture views and numbers only");
        if (watching_) watch(output.value(), last_parameter_);
        if (!output.needs_grad()) return;
        void* memory = records_.allocate(sizeof(Vjp));
        steps_.push_back({new (memory) Vjp(vjp), [](void* p) { (*static_cast<Vjp*>(p))(); }, output,
                          last_parameter_});
    }

    /// (2.4) The gradient of the scalar `loss` with respect to itself is 1; every step passes its
    /// share on.
    void backward(Var<T> loss) {
        require(loss.value().numel() == 1, "backward: the loss must be one number, its shape is ",
                loss.shape());
        backward_from(loss, T(1));
    }
    /// The same for any output, from its own gradient, the cotangent: a tensor of its shape ..
    void backward(Var<T> output, Tensor<T> cotangent) {
        require_same_shape("backward", output.value(), cotangent);
        output.add_to_grad(cotangent);
        sweep();
    }
    /// .. or `seed` everywhere.
    void backward_from(Var<T> output, T seed) {
        fill(output.grad(), seed);
        sweep();
    }

    /// For the search after a number that is not finite: from now on every result, and on the way
    /// back every gradient of a result, is looked at. culprit() is then the offset of the parameter
    /// last used by the operation that made the first such number, or -1.
    void watch_results() {
        watching_ = true;
        culprit_ = -1;
    }
    std::ptrdiff_t culprit() const { return culprit_; }

    /// Memory for a result or its gradient, with anything in it.
    Tensor<T> room(const Shape& shape) {
        const std::ptrdiff_t size = whole(shape.numel());
        auto free = smallest_of_at_least(size);
        if (free == free_.rend()) {
            join_neighbours();
            free = smallest_of_at_least(size);
        }
        if (free == free_.rend()) return numbers_.make<T>(shape);
        const Tensor<T> room(free->memory, shape);
        free->memory += size;
        free->size -= size;
        if (free->size == 0) free_.erase(std::next(free).base());
        return room;
    }

    /// Forgets all operations and frees their memory. Every Var made so far becomes invalid.
    void reset() {
        steps_.clear();
        results_.clear();
        free_.clear();
        records_.reset();
        arena_.reset();
        if (&numbers_ != &arena_) numbers_.reset();
        scratch_.reset();
    }

private:
    struct Step {
        void* vjp;
        void (*run)(void*);
        Var<T> output;
        std::ptrdiff_t parameter;  // the last one used before
    };

    /// Runs the VJPs, the last one first. Afterwards only leaves keep their gradients.
    void sweep() {
        std::ptrdiff_t later = last_parameter_;  // of the step whose VJP ran before
        for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
            if (watching_) watch(step->output.grad(), later);
            later = step->parameter;
            step->run(step->vjp);
            // Passed on, and never asked for again: the next gradient of this size takes its place.
            Tensor<T>& passed = step->output.node_->grad;
            if (passed) give_back(passed);
            passed = {};
        }
    }

    /// How many VJPs have been recorded.
    std::ptrdiff_t recorded() const { return std::ssize(steps_); }

    static constexpr std::ptrdiff_t kNotOurs = -1;  // the memory of a constant or a leaf, or free
    Var<T> node(Tensor<T> value, Tensor<T> grad, bool needs_grad, std::ptrdiff_t made = kNotOurs) {
        using Node = typename Var<T>::Node;
        void* memory = records_.allocate(sizeof(Node));
        Node* made_here = new (memory) Node{this, value, grad, needs_grad, made, nullptr};
        made_here->owner = made_here;
        return Var<T>(made_here);
    }

    // ---- Memory that is free again. The last that came back lies at the end.

    struct Room {
        T* memory;
        std::ptrdiff_t size;
    };
    /// What the arena gives for so many numbers: whole lines of the cache.
    static std::ptrdiff_t whole(std::ptrdiff_t numbers) {
        constexpr std::ptrdiff_t kLine = kAlignment / sizeof(T);
        return (numbers + kLine - 1) / kLine * kLine;
    }
    void give_back(Tensor<T> x) { free_.push_back({x.data(), whole(x.numel())}); }
    /// The last of the smallest rooms that suffice. A small result takes no part of a much larger
    /// room, which the next large result may need whole.
    auto smallest_of_at_least(std::ptrdiff_t size) {
        constexpr std::ptrdiff_t kMuch = 64;
        auto best = free_.rend();
        for (auto free = free_.rbegin(); free != free_.rend(); ++free) {
            const bool fits = free->size >= size && free->size <= kMuch * size;
            if (fits && (best == free_.rend() || free->size < best->size)) best = free;
        }
        return best;
    }
    void join_neighbours() {
        std::ranges::sort(free_, std::less<>(), &Room::memory);
        std::size_t last = 0;
        for (std::size_t i = 1; i < free_.size(); ++i) {
            if (free_[last].memory + free_[last].size == free_[i].memory) {
                free_[last].size += free_[i].size;
            } else {
                free_[++last] = free_[i];
            }
        }
        if (!free_.empty()) free_.resize(last + 1);
    }

    void watch(Tensor<T> numbers, std::ptrdiff_t parameter) {
        if (culprit_ < 0 && !all_finite(numbers)) culprit_ = parameter;
    }

    Arena &arena_, &numbers_;
    Arena scratch_;
    Arena records_;  // nodes and VJPs: between results they would keep neighbours apart
    T* parameter_values_ = nullptr;
    T* parameter_gradients_ = nullptr;
    const Half* parameter_halves_ = nullptr;
    std::ptrdiff_t last_parameter_ = -1, culprit_ = -1;
    bool watching_ = false;
    std::vector<Step> steps_;  // these keep their capacity between training steps
    std::vector<Var<T>> results_;
    std::vector<Room> free_;
};

/// A tape with an arena of its own.
template <class T>
struct OwnTape {
    Arena arena;
    Tape<T> tape{arena};
};

}  // namespace diffusion
