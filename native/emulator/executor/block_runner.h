// Runs blocks on one operating-system thread: lazy fibres, block and warp rendezvous.
#pragma once

#include "executor/async_copies.h"
#include "executor/bulk_copies.h"
#include "executor/cluster.h"
#include "executor/fibre.h"
#include "executor/launch.h"
#include "executor/mbarriers.h"
#include "executor/named_barriers.h"
#include "executor/warpgroup_products.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace check {
struct Worker;
}

namespace emu {

enum class Wait : unsigned { None, Block, Warp, Named, Warpgroup, Phase };

class BlockRunner {
public:
    static constexpr unsigned kMaxThreads = 1024;

    BlockRunner();
    ~BlockRunner();
    BlockRunner(const BlockRunner&) = delete;
    BlockRunner& operator=(const BlockRunner&) = delete;

    // The runner of the calling thread, made on first use; `current` is null on a thread that runs no kernel now.
    static BlockRunner& of_this_thread();
    static BlockRunner* current();

    void begin(const LaunchRequest& launch, check::Launch* checks, LaunchFault& fault);
    void run_block(unsigned long long linear_block);
    // The block of that rank, at the same time as the other blocks of the cluster on other threads. Returns when all have ended.
    void run_block(unsigned long long linear_block, Cluster& cluster, unsigned rank);
    void end();

    void block_rendezvous(void* operands, EmuBlockStep step, const void* site);
    void warp_rendezvous(unsigned mask, void* operands, EmuWarpStep step, const void* site);
    unsigned cluster_rank() const { return _cluster_rank; }
    void cluster_sync(const void* site);
    void cluster_read(const void* own, unsigned rank, void* to, unsigned bytes, const void* site);
    // Parks the running thread until another one resumes it. What it waits for is named when it never comes.
    void suspend(Wait wait, unsigned number, const void* site);
    void resume(unsigned thread) { make_ready(&_threads[thread]); }
    // Gives way to other operating-system threads; ends the block when the launch has faulted elsewhere, or when it has waited too long for
    // blocks that never come: no more run at once than there are workers, and a block keeps its worker until it ends.
    void pause(const void* site);
    [[noreturn]] void thread_ended();
    [[noreturn]] void threads_exhausted();

    // Ends the block with a fault, from any depth of kernel code. `fail` puts kernel, block, thread and line in front of the text.
    [[noreturn]] void fail(CUresult code, const std::string& text, const void* site);
    [[noreturn]] void abandon(CUresult code, const std::string& text);

    const LaunchRequest& launch() const { return *_launch; }
    const EmuBlock& block() const { return _block; }
    check::Worker* checker() const { return _checker; }
    AsyncCopies& async_copies() { return _async; }
    BulkCopies& bulk_copies() { return _bulk; }
    Mbarriers& mbarriers() { return _mbarriers; }
    NamedBarriers& named_barriers() { return _named; }
    // setmaxnreg: what the running thread's warpgroup has from now on.
    void set_registers(unsigned registers);
    WarpgroupProducts& warpgroup_products() { return _products; }
    EmuThread& thread(unsigned linear) { return _threads[linear]; }
    bool watched() const { return _watched; }
    bool is_stack_guard(const void* address) const { return _fibres.is_guard(address); }
    void* main_stack_pointer() const { return _main_stack_pointer; }
    bool in_kernel() const { return _in_kernel; }

private:
    struct Barrier { unsigned arrived = 0; EmuBlockStep step = nullptr; const void* site = nullptr; };

    static void fibre_entry();
    void shape_threads(EmuDim shape);
    void order_threads(unsigned long long linear_block);
    void announce_block();
    void park(EmuThread* self);
    void* next_stack_pointer();
    bool land_waited_copies();
    void make_ready(EmuThread* thread) { _ready[_ready_tail++ % kMaxThreads] = thread->linear; ++_block.ready; }
    EmuThread* take_ready();
    void forget_block();
    void check_registers();
    unsigned existing_lanes(unsigned warp) const;
    [[noreturn]] void fail_deadlock();
    [[noreturn]] void fail_divergence(const EmuThread& self, const EmuThread& other, const char* what, const void* site);

    EmuBlock _block{};
    const LaunchRequest* _launch = nullptr;
    LaunchFault* _fault = nullptr;
    EmuThread* _threads;
    EmuDim _shape{};
    unsigned _parked = 0;
    bool _in_kernel = false;
    std::chrono::steady_clock::time_point _waiting_since{}, _last_pause{};
    Barrier _barrier;
    unsigned _warp_arrived[kMaxThreads / 32]{};
    EmuWarpStep _warp_steps[kMaxThreads]{};
    void* _operands[kMaxThreads]{};
    unsigned _ready[kMaxThreads];
    unsigned _ready_head = 0, _ready_tail = 0;
    std::unique_ptr<unsigned[]> _order;
    void* _main_stack_pointer = nullptr;
    Fibre* _fibre = nullptr;
    FibrePool _fibres;
    AsyncCopies _async;
    Mbarriers _mbarriers{*this};
    BulkCopies _bulk{*this};
    NamedBarriers _named{*this};
    WarpgroupProducts _products{*this};
    unsigned _registers[kMaxThreads / WarpgroupProducts::kThreads]{};   // of each warpgroup's threads, 0 where it has not said
    check::Worker* _checker;
    check::Launch* _checks = nullptr;
    Cluster* _cluster = nullptr;   // null: a block by itself
    unsigned _cluster_rank = 0;
    bool _cluster_met = false;     // the block has passed a barrier of its cluster
    bool _watched = false;   // checked, or accesses are counted
};

} // namespace emu
