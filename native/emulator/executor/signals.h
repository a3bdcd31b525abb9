// Turns memory faults of kernel code into launch faults; every other signal goes to whoever handled it before.
#pragma once

namespace emu {

// Once per process, and an alternate signal stack once per thread that has none.
void install_signal_handler();

} // namespace emu
