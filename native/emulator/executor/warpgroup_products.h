// wgmma: products of a warpgroup, begun by its 128 threads together and computed when one of them waits; each thread's accumulators hold nothing
// of use until its own wait.
#pragma once

#include "shim/abi.h"

#include <memory>
#include <vector>

namespace emu {

class BlockRunner;

class WarpgroupProducts {
public:
    static constexpr unsigned kThreads = 128;

    explicit WarpgroupProducts(BlockRunner& runner) : _runner(runner) {}
    void fence();
    void begin(const EmuWarpgroupProduct& product, const void* site);
    void commit();
    void wait(int groups_left, const void* site);
    // Products were begun that nobody has waited for.
    bool under_way() const;
    void reset();

private:
    static constexpr unsigned kGroups = 1024 / kThreads, kRows = 64, kInner = 16, kMaxColumns = 256;

    // The accumulators of a product under way: one matrix, gathered from the threads' registers.
    struct Tile {
        float* registers[kThreads];
        bool held[kThreads];            // the thread has not waited for it since
        unsigned columns;
        unsigned long long last;        // number of the last product into it
        alignas(64) float sums[kRows][kMaxColumns];
    };
    struct Product {
        EmuWarpgroupProduct operands;
        Tile* tile;
        std::unique_ptr<unsigned[]> fragments;   // A in registers, four of each thread
        const void* site;
    };
    struct Thread {
        const EmuWarpgroupProduct* posted;
        bool fenced;
        std::vector<unsigned long long> commits;   // products begun before each
    };
    struct Group {
        unsigned arrived = 0;
        const void* site = nullptr;
        unsigned long long begun = 0, done = 0;
        std::vector<Product> queue;              // products done .. begun
        std::vector<std::unique_ptr<Tile>> tiles;
        Thread threads[kThreads] = {};
    };

    void start(Group& group, const void* site);
    Tile& tile_of(Group& group, const EmuWarpgroupProduct& product, const void* site);
    void compute(Product& product, unsigned first);
    void hand_back(Tile& tile, unsigned lane);
    Group& group_of_current(const void* site);

    BlockRunner& _runner;
    std::unique_ptr<Group> _groups[kGroups];
    bool _used = false;
};

} // namespace emu
