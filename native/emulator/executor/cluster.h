// The blocks of a cluster, each on an operating-system thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

namespace emu {

class BlockRunner;

class Cluster {
public:
    explicit Cluster(unsigned blocks) : _blocks(blocks), _expected(blocks) {}

    unsigned size() const { return static_cast<unsigned>(_blocks.size()); }
    void enter(unsigned rank, BlockRunner& runner);
    // A block that has ended is not waited for at barriers. Returns when all have: the next cluster of the launch may begin.
    void leave(unsigned rank);
    // A whole block comes to the barrier; it may go on when the phase has passed.
    unsigned arrive();
    bool passed(unsigned phase);
    // Of a block that has met this one at a barrier: null when it has ended since.
    BlockRunner* block(unsigned rank);

private:
    void complete_if_all();

    std::mutex _mutex;
    std::condition_variable _all_left;
    std::vector<BlockRunner*> _blocks;
    unsigned _expected;                // blocks that have not ended
    unsigned _arrived = 0, _phase = 0, _clusters = 0;
};

} // namespace emu
