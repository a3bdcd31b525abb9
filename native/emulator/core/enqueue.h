// Host work in stream order, for the parts of the emulator that offer libraries (cuBLAS).
#pragma once

#include "api/cuda_types.h"

#include <functional>

namespace emu {

// Runs `work` in the order of the stream: at once (unchecked), deferred (checked) or as a graph node (capture). `name` must outlive it.
CUresult enqueue(CUstream stream, const char* name, std::function<void()> work);

// The current context's device, -1 without a context; whether it is checked.
int current_device();
bool current_device_is_checked();

// Fails the current context from within enqueued work (an operand outside every allocation, for example).
void fail_current(CUresult code, const char* text);

} // namespace emu
