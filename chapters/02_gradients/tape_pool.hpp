#pragma once
// Tapes for several threads at once.
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "02_gradients/tape.hpp"
#include "kernels/threads.hpp"

namespace diffusion {

/// Tapes for work that several threads do at once, in parallel loops or loops inside them:
///
///     const TapePool<float>::Lent lent(pool);
///     Tape<float>& tape = lent.tape();  // empty, and nobody else's while `lent` lives
///
/// A thread gets the tape that it had before, if that is there. So work that is dealt out in the
/// same way each time finds memory that is large enough.
template <class T>
class TapePool {
    struct Place {
        OwnTape<T> own;
        std::thread::id last;  ///< who had it last
    };

public:
    class Lent {
    public:
        explicit Lent(TapePool& pool) : pool_(pool), place_(pool.take()) {}
        ~Lent() { pool_.give_back(std::move(place_)); }
        Lent(const Lent&) = delete;
        Lent& operator=(const Lent&) = delete;
        Tape<T>& tape() const { return place_->own.tape; }

    private:
        TapePool& pool_;
        std::unique_ptr<Place> place_;
    };

    /// How many there are, lent or not.
    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return count_;
    }

private:
    /// One that this thread had; or a new one while there are fewer than threads; or any; or, if
    /// all are lent, a new one.
    std::unique_ptr<Place> take() {
        std::unique_ptr<Place> place = find();
        place->own.tape.reset();
        return place;
    }
    std::unique_ptr<Place> find() {
        const std::lock_guard lock(mutex_);
        const auto me = std::this_thread::get_id();
        auto at = std::find_if(free_.rbegin(), free_.rend(),
                               [me](const auto& place) { return place->last == me; });
        if (at == free_.rend() && count_ >= static_cast<std::size_t>(thread_count()))
            at = free_.rbegin();
        if (at == free_.rend()) {
            auto place = std::make_unique<Place>();
            place->last = me;
            free_.reserve(count_ + 1);  // so that giving back takes no memory
            ++count_;
            return place;
        }
        std::unique_ptr<Place> place = std::move(*at);
        place->last = me;
        free_.erase(std::next(at).base());
        return place;
    }
    void give_back(std::unique_ptr<Place> place) {
        const std::lock_guard lock(mutex_);
        free_.push_back(std::move(place));
    }

    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Place>> free_;
    std::size_t count_ = 0;
};

}  // namespace diffusion
