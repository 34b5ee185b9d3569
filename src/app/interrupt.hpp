#pragma once
// Ctrl-C. A training loop that polls interrupted() can save its state and end cleanly.

namespace diffusion {

/// From now on the first SIGINT (Ctrl-C) or SIGTERM only sets a flag; the second one ends the
/// program at once. SIGHUP (the terminal is closed) sets the flag too, however often it comes;
/// under nohup it does nothing.
void catch_interrupt();

/// Has a signal come since catch_interrupt()?
bool interrupted();

}  // namespace diffusion
