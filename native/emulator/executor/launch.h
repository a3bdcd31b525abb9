// One kernel launch as the executor sees it, and its outcome.
#pragma once

#include "api/cuda_types.h"
#include "shim/abi.h"

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace check {
class Launch;
struct PendingWrites;
}

namespace emu {

// A declaration of static shared memory in the block's storage, with a guard zone behind it.
struct SharedSlot {
    unsigned offset;
    unsigned bytes;
    std::string name;
};

struct LaunchRequest {
    const char* kernel;                  // name expression, for messages
    void (*run)(void* const* parameters);
    void* const* parameters;
    EmuDim grid, block;
    const std::vector<SharedSlot>* shared_slots;
    unsigned shared_storage_bytes;       // of the static slots, guard zones included
    unsigned dynamic_shared_bytes;
    int device;
    bool has_warpgroups;                 // compute capability 9.0
    bool cooperative;
    unsigned cluster_blocks;             // neighbours in x that run together; 1: no clusters
    bool checked;
    bool instrumented;                   // the module was compiled for checking or counting
    bool count_accesses;
    uint64_t seed;                       // of this launch: orders of threads and blocks
    int workers;                         // upper bound on operating-system threads
    const check::PendingWrites* pending; // of a dependent launch, on a checked device; else null
    check::PendingWrites* written;       // gets what the kernel writes to, on a checked device; else null
};

// The first fault of a launch. Blocks stop being started once it is set.
struct LaunchFault {
    std::atomic<bool> raised{false};
    std::mutex mutex;
    CUresult code = CUDA_SUCCESS;
    std::string text;
};

// Runs the whole grid and returns when it is done.
void run_launch(const LaunchRequest& launch, LaunchFault& fault);

} // namespace emu
