// Programmatic dependent launch: what a kernel may touch before it has waited for the kernels before it.
#include "check/worker.h"

#include <algorithm>

namespace check {

void PendingWrites::add(const PendingWrites& other) {
    everything |= other.everything;
    for (const u64 address : other.allocations) add(address);
}

void PendingWrites::add(u64 address) {
    if (std::find(allocations.begin(), allocations.end(), address) == allocations.end()) allocations.push_back(address);
}

void Launch::note_write(u64 allocation) {
    const std::lock_guard lock(_mutex);
    _written.add(allocation);
}

bool never_waited(const Launch* launch) { return launch->info.pending != nullptr && !launch->waited.load(std::memory_order_relaxed); }

void dependency_wait(Worker* worker) {
    if (worker->launch == nullptr) return;
    worker->waited[worker->thread] = true;
    worker->launch->waited.store(true, std::memory_order_relaxed);
}

// An access to device memory by a thread that has not waited yet.
void Worker::early_access(u64 address, u64 bytes, Access kind, const void* site) {
    const Allocation* holder = allocation_of(address);
    if (holder == nullptr) return; // the general check has the text
    const PendingWrites& pending = *launch->info.pending;
    const bool written = pending.everything || std::find(pending.allocations.begin(), pending.allocations.end(), holder->address) != pending.allocations.end();
    if (kind == Access::Read && !written) return;
    fault(kLaunchFailed,
          access_text("early", kind, bytes) + address_text(address) + describe_range(address, bytes) + ": before it waits, a kernel launched as a dependent one may " +
              (kind == Access::Read ? "not read what kernels before it wrote" : "write nothing"),
          site);
}

void Worker::note_write(u64 address) {
    if (address - noted.address < noted.bytes) return;
    if (const Allocation* holder = allocation_of(address)) {
        noted = *holder;
        launch->note_write(holder->address);
    }
}

} // namespace check
