#pragma once
// Ctrl-C. A training loop that polls interrupted() can save its state and end cleanly.

namespace diffusion {

/// From now on the first SIGINT (Ctrl-C) or SIGTERM only sets a flag; the second one ends the
/// program at once.
void catch_interrupt();

/// Has a signal come since catch_interrupt()?
bool interrupted();

}  // namespace diffusion
