// A formula for host and GPU whose exercise is open: in the kernel there must be a trap where it
// would be called (tests/CMakeLists.txt), or the kernel would go on with nothing computed.
#include "tensor/check.hpp"

template <class T>
constexpr T update(T gradient) {
    static_cast<void>(gradient);
    diffusion::fail("exercise 2.5 is not solved yet: ", "both averages, then the step");
}
__global__ void step(const float* gradient, float* x) {
    x[threadIdx.x] = update(gradient[threadIdx.x]);
}
