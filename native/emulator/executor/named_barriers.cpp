#include "executor/named_barriers.h"

#include "check/hooks.h"
#include "executor/block_runner.h"

namespace emu {

void NamedBarriers::arrive(unsigned number, unsigned threads, bool wait, const void* site) {
    if (number >= kBarriers || threads == 0 || threads % 32 != 0 || threads > _runner.block().count)
        _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION,
                     "barrier " + std::to_string(number) + " of " + std::to_string(threads) + " threads: there are barriers 0 to 15, of whole warps of the block", site);
    _used = true;
    Barrier& barrier = _barriers[number];
    if (barrier.arrived != 0 && barrier.expected != threads)
        _runner.fail(CUDA_ERROR_LAUNCH_FAILED,
                     "divergent barrier " + std::to_string(number) + ": it is of " + std::to_string(threads) + " threads here and of " +
                         std::to_string(barrier.expected) + " where others have arrived", site);
    barrier.expected = threads;
    const unsigned self = emu_current->linear;
    if (_runner.watched()) check::released(_runner.checker(), number, self);
    if (++barrier.arrived < threads) {
        if (!wait) return;
        barrier.waiting.push_back(self);
        _runner.suspend(Wait::Named, number, site);
        if (_runner.watched()) check::acquired(_runner.checker(), number, self);
        return;
    }
    barrier.arrived = 0;
    if (_runner.watched()) {
        check::phase_completed(_runner.checker(), number);
        if (wait) check::acquired(_runner.checker(), number, self);
    }
    for (unsigned thread : barrier.waiting) _runner.resume(thread);
    barrier.waiting.clear();
}

void NamedBarriers::reset() {
    if (!_used) return;
    _used = false;
    for (Barrier& barrier : _barriers) barrier = {};
}

} // namespace emu
