// cp.async.bulk and cp.async.bulk.tensor from global to shared memory: copies that land, and are counted by their mbarrier,
// when a thread waits for it, or, where it waits already, when no other can go on.
#pragma once

#include "shim/abi.h"

#include <vector>

namespace emu {

class BlockRunner;

class BulkCopies {
public:
    explicit BulkCopies(BlockRunner& runner) : _runner(runner) {}
    void issue(void* destination, const void* source, unsigned bytes, void* barrier, const void* site);
    void issue_tensor(void* destination, const void* map, const int* coordinates, unsigned rank, void* barrier, const void* site);
    // What was issued for the barrier.
    void land(void* barrier);
    // The same for one barrier that threads wait for; false when there is none.
    bool land_waited();
    bool under_way() const { return !_copies.empty(); }
    void reset() { _copies.clear(); }

private:
    // A piece of one source row. Zeros where there is no source.
    struct Piece {
        unsigned char* destination;
        const unsigned char* source;
        unsigned bytes;
    };
    struct Copy {
        void* barrier;
        unsigned thread;
        unsigned bytes;
        std::vector<Piece> pieces;
    };

    void require(bool condition, const char* what, const void* site);
    void begin(unsigned char* destination, unsigned bytes, void* barrier, const void* site);

    BlockRunner& _runner;
    std::vector<Copy> _copies;
};

} // namespace emu
