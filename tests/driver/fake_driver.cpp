// Stands in for NVIDIA's driver, to see what the programs say when it is too old, or finds no GPU:
// its version is FAKE_DRIVER_VERSION, and whatever else it is asked for fails with "no device".
#include <cstring>

namespace {
constexpr int kNoDevice = 100;
int no_device() {
    return kNoDevice;
}
}  // namespace

extern "C" {
int cuDriverGetVersion(int* version) {
    *version = FAKE_DRIVER_VERSION;
    return 0;
}
int cuInit(unsigned) {
    return kNoDevice;
}
int cuGetProcAddress_v2(const char* symbol, void** function, int, unsigned long long, void* found) {
    const auto asked_for = [symbol](const char* name) { return std::strcmp(symbol, name) == 0; };
    *function = asked_for("cuDriverGetVersion") ? reinterpret_cast<void*>(cuDriverGetVersion)
                : asked_for("cuGetProcAddress") ? reinterpret_cast<void*>(cuGetProcAddress_v2)
                                                : reinterpret_cast<void*>(no_device);
    if (found != nullptr) *static_cast<int*>(found) = 0;
    return 0;
}
int cuGetProcAddress(const char* symbol, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}
}
