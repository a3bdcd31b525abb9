#include "executor/cluster.h"

namespace emu {

void Cluster::enter(unsigned rank, BlockRunner& runner) {
    const std::lock_guard lock(_mutex);
    _blocks[rank] = &runner;
}

void Cluster::leave(unsigned rank) {
    std::unique_lock lock(_mutex);
    _blocks[rank] = nullptr;
    if (--_expected == 0) {
        _expected = size();
        _arrived = 0;
        ++_clusters;
        _all_left.notify_all();
        return;
    }
    complete_if_all();
    const unsigned cluster = _clusters;
    _all_left.wait(lock, [&] { return _clusters != cluster; });
}

unsigned Cluster::arrive() {
    const std::lock_guard lock(_mutex);
    const unsigned phase = _phase;
    ++_arrived;
    complete_if_all();
    return phase;
}

void Cluster::complete_if_all() {
    if (_arrived < _expected) return;
    _arrived = 0;
    ++_phase;
}

bool Cluster::passed(unsigned phase) {
    const std::lock_guard lock(_mutex);
    return _phase != phase;
}

BlockRunner* Cluster::block(unsigned rank) {
    const std::lock_guard lock(_mutex);
    return _blocks[rank];
}

} // namespace emu
