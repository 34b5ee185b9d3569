#include "app/interrupt.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace diffusion {

namespace {

std::atomic<bool> signalled{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait for a lock");

extern "C" void on_signal(int) {
    signalled.store(true, std::memory_order_relaxed);
    constexpr char kMessage[] = "\nstopping; once more to quit at once\n";
    // Nothing can be done in a handler about a terminal that is gone.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
}

/// The terminal is closed. More such signals may follow, from the shell and from the system, and
/// are no wish to quit at once; and whoever reads our output may be gone, which must not end us
/// either.
extern "C" void on_hangup(int) {
    signalled.store(true, std::memory_order_relaxed);
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &ignore, nullptr);
    sigaction(SIGPIPE, &ignore, nullptr);
}

}  // namespace

void catch_interrupt() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    // RESETHAND: the second signal finds the default action. RESTART: no file write fails with
    // EINTR.
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    struct sigaction before {};
    sigaction(SIGHUP, nullptr, &before);
    if (before.sa_handler == SIG_IGN) return;  // started with nohup
    action.sa_handler = on_hangup;
    action.sa_flags = SA_RESTART;
    sigaction(SIGHUP, &action, nullptr);
}

bool interrupted() {
    return signalled.load(std::memory_order_relaxed);
}

}  // namespace diffusion
