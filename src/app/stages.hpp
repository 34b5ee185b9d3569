#pragma once
// A progress line of few steps, each with its text.
#include <string>
#include <utility>

#include "app/interrupt.hpp"
#include "app/progress.hpp"
#include "tensor/check.hpp"

namespace diffusion {

/// Fails after Ctrl-C.
class Stages {
public:
    Stages(std::string what, int count)
        : what_(std::move(what)), progress_(what_, count, "steps") {}
    void operator()(const std::string& text) {
        require(!interrupted(), what_, ": stopped");
        progress_.update(done_++, text);
    }
    void finish() {
        progress_.update(done_);
        progress_.finish();
    }

private:
    std::string what_;
    Progress progress_;
    int done_ = 0;
};

}  // namespace diffusion
