// bar.sync and bar.arrive: barriers of some of a block's warps.
#pragma once

#include "shim/abi.h"

#include <vector>

namespace emu {

class BlockRunner;

class NamedBarriers {
public:
    explicit NamedBarriers(BlockRunner& runner) : _runner(runner) {}
    // The running thread arrives; with `wait` it goes on when `threads` have.
    void arrive(unsigned barrier, unsigned threads, bool wait, const void* site);
    void reset();

private:
    static constexpr unsigned kBarriers = 16;
    struct Barrier {
        unsigned expected = 0, arrived = 0;
        std::vector<unsigned> waiting;
    };

    BlockRunner& _runner;
    Barrier _barriers[kBarriers];
    bool _used = false;
};

} // namespace emu
