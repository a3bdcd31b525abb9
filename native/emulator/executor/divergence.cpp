// Faults of threads that do not meet: what each of them waits for, in words.
#include "executor/block_runner.h"
#include "executor/fault.h"

namespace emu {

void BlockRunner::fail_divergence(const EmuThread& self, const EmuThread& other, const char* what, const void* site) {
    std::string text = "divergent ";
    text += what;
    text += ": thread " + describe_dim(self.index) + " is at " + describe_site(site) + ", thread " + describe_dim(other.index) + " waits at " +
            describe_site(other.site);
    fail(CUDA_ERROR_LAUNCH_FAILED, text, site);
}

// No thread can go on: some wait for what never comes.
void BlockRunner::fail_deadlock() {
    const EmuThread* waiting = nullptr;
    unsigned at_barrier = 0, at_warp = 0, elsewhere = 0;
    for (unsigned i = 0; i < _block.count; ++i) {
        const Wait wait = static_cast<Wait>(_threads[i].wait);
        if (wait == Wait::None) continue;
        at_barrier += wait == Wait::Block;
        at_warp += wait == Wait::Warp;
        elsewhere += wait != Wait::Block && wait != Wait::Warp;
        // Of several reasons the one that is no mere consequence of the others.
        if (!waiting || wait == Wait::Phase) waiting = &_threads[i];
    }
    const unsigned ended = _block.count - at_barrier - at_warp - elsewhere;
    std::string text;
    switch (waiting ? static_cast<Wait>(waiting->wait) : Wait::Block) {
    case Wait::Phase:
        text = "thread " + describe_dim(waiting->index) + " waits at " + describe_site(waiting->site) + " for a phase of an mbarrier that never completes: " +
               _mbarriers.describe_missing();
        break;
    case Wait::Named:
        text = "divergent barrier " + std::to_string(waiting->mask) + ": thread " + describe_dim(waiting->index) + " waits at " + describe_site(waiting->site) +
               " for threads that never come";
        break;
    case Wait::Warpgroup:
        text = "divergent product of a warpgroup: thread " + describe_dim(waiting->index) + " waits at " + describe_site(waiting->site) +
               " for threads of its warpgroup that never come";
        break;
    case Wait::Warp: {
        text = "divergent warp operation: thread " + describe_dim(waiting->index) + " waits at " + describe_site(waiting->site) +
               " for lanes that its mask names and that never come";
        const unsigned first = waiting->linear / 32 * 32;
        for (unsigned lane = 0; lane < 32; ++lane) {
            if (!(waiting->mask >> lane & 1)) continue;
            const EmuThread& other = _threads[first + lane];
            if (other.wait == waiting->wait) continue;
            text += other.wait == static_cast<unsigned>(Wait::Block)
                ? " (lane " + std::to_string(lane) + " waits at the barrier at " + describe_site(other.site) + ")"
                : " (lane " + std::to_string(lane) + " has ended)";
            break;
        }
        break;
    }
    default:
        text = "divergent barrier: " + std::to_string(at_barrier) + " of " + std::to_string(_block.count) + " threads wait at " +
               describe_site(waiting ? waiting->site : nullptr) + ", " + std::to_string(ended) + " have ended";
        if (at_warp) text += ", " + std::to_string(at_warp) + " wait at warp operations";
    }
    fail(CUDA_ERROR_LAUNCH_FAILED, text, waiting ? waiting->site : nullptr);
}

} // namespace emu
