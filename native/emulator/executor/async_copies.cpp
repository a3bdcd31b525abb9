#include "executor/async_copies.h"

#include "check/hooks.h"
#include "executor/block_runner.h"

#include <cstring>

namespace emu {

AsyncCopies::Queue& AsyncCopies::queue_of(const EmuThread& thread) {
    if (_queues.empty()) _queues.resize(BlockRunner::kMaxThreads);
    _used = true;
    return _queues[thread.linear];
}

void AsyncCopies::issue(const EmuThread& thread, void* destination, const void* source, unsigned bytes, unsigned valid_bytes,
                        const void* site) {
    Queue& queue = queue_of(thread);
    if (BlockRunner::current()->launch().instrumented) {
        check::async_issued(destination, source, bytes, valid_bytes, site);
        // Whoever reads before the wait must not find something plausible there.
        memset(destination, 0xFF, bytes);
    }
    queue.pending.push_back({static_cast<unsigned char*>(destination), static_cast<const unsigned char*>(source), bytes,
                             valid_bytes < bytes ? valid_bytes : bytes, queue.group});
}

void AsyncCopies::commit(const EmuThread& thread) { ++queue_of(thread).group; }

void AsyncCopies::wait(const EmuThread& thread, int groups_left) {
    Queue& queue = queue_of(thread);
    while (queue.landed < queue.pending.size()) {
        const Copy& copy = queue.pending[queue.landed];
        if (copy.group >= queue.group || queue.group - copy.group <= static_cast<unsigned>(groups_left)) break;
        land(thread, copy);
        ++queue.landed;
    }
    if (queue.landed == queue.pending.size()) {
        queue.pending.clear();
        queue.landed = 0;
    }
}

void AsyncCopies::land(const EmuThread& thread, const Copy& copy) {
    memcpy(copy.destination, copy.source, copy.valid_bytes);
    memset(copy.destination + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
    const BlockRunner& runner = *BlockRunner::current();
    if (runner.launch().instrumented) check::async_landed(runner.checker(), thread.linear, copy.destination, copy.bytes);
}

void AsyncCopies::reset() {
    if (!_used) return;
    _used = false;
    for (Queue& queue : _queues) {
        queue.pending.clear();
        queue.landed = queue.group = 0;
    }
}

} // namespace emu
