#include "executor/launch.h"

#include "check/hooks.h"
#include "core/random.h"
#include "executor/block_runner.h"
#include "executor/worker_pool.h"

#include <thread>
#include <x86intrin.h>

namespace emu {

namespace {

// Below this much remaining work, waking the other threads costs more than it saves (in time-stamp ticks, about 20 microseconds).
constexpr unsigned long long kWorthWaking = 50000;

// The order in which blocks start: as numbered, or (checked) a permutation by seed.
class BlockOrder {
public:
    BlockOrder(const LaunchRequest& launch, unsigned long long count) {
        if (!launch.checked || count > kLargestShuffle) return;
        _order.resize(count);
        Random random(launch.seed);
        for (unsigned i = 0; i < count; ++i) {
            unsigned j = static_cast<unsigned>(random.below(i + 1));
            _order[i] = _order[j];
            _order[j] = i;
        }
    }

    unsigned long long at(unsigned long long index) const { return _order.empty() ? index : _order[index]; }

private:
    static constexpr unsigned long long kLargestShuffle = 1u << 22;
    std::vector<unsigned> _order;
};

void run_cooperative(const LaunchRequest& launch, check::Launch* checks, LaunchFault& fault, unsigned long long count) {
    std::vector<std::thread> threads;
    for (unsigned long long block = 0; block < count; ++block) {
        threads.emplace_back([&, block] {
            BlockRunner& runner = BlockRunner::of_this_thread();
            runner.begin(launch, checks, fault);
            runner.run_block(block);
            runner.end();
        });
    }
    for (std::thread& thread : threads) thread.join();
}

// One cluster after the other, each block of it on a thread of its own.
void run_clusters(const LaunchRequest& launch, check::Launch* checks, LaunchFault& fault, unsigned long long count) {
    const unsigned size = launch.cluster_blocks;
    const BlockOrder order(launch, count / size);
    Cluster cluster(size);
    std::vector<std::thread> threads;
    for (unsigned rank = 0; rank < size; ++rank) {
        threads.emplace_back([&, rank] {
            BlockRunner& runner = BlockRunner::of_this_thread();
            runner.begin(launch, checks, fault);
            for (unsigned long long i = 0; i < count / size; ++i) runner.run_block(order.at(i) * size + rank, cluster, rank);
            runner.end();
        });
    }
    for (std::thread& thread : threads) thread.join();
}

} // namespace

void run_launch(const LaunchRequest& launch, LaunchFault& fault) {
    const unsigned long long count = static_cast<unsigned long long>(launch.grid.x) * launch.grid.y * launch.grid.z;
    const bool watched = launch.instrumented;
    check::Launch* checks = !watched ? nullptr : check::begin_launch(
        {launch.kernel, launch.device, {launch.grid.x, launch.grid.y, launch.grid.z}, {launch.block.x, launch.block.y, launch.block.z},
         launch.dynamic_shared_bytes, launch.checked, launch.count_accesses, launch.pending, launch.written});
    if (launch.cluster_blocks > 1) {
        run_clusters(launch, checks, fault, count);
    } else if (launch.cooperative && count > 1) {
        run_cooperative(launch, checks, fault, count);
    } else {
        const BlockOrder order(launch, count);
        BlockRunner& own = BlockRunner::of_this_thread();
        own.begin(launch, checks, fault);
        unsigned long long done = 0;
        const unsigned long long start = __rdtsc();
        bool share = false;
        // Alone until the work is known to be worth sharing.
        while (done < count && !share && !fault.raised.load(std::memory_order_relaxed)) {
            own.run_block(order.at(done++));
            if (launch.workers > 1 && done < count) share = (__rdtsc() - start) / done * (count - done) > kWorthWaking;
        }
        if (share) {
            std::atomic<unsigned long long> next{done};
            run_on_workers(launch.workers, [&](int worker) {
                BlockRunner& runner = BlockRunner::of_this_thread();
                if (worker != 0) runner.begin(launch, checks, fault);
                while (!fault.raised.load(std::memory_order_relaxed)) {
                    unsigned long long index = next.fetch_add(1, std::memory_order_relaxed);
                    if (index >= count) break;
                    runner.run_block(order.at(index));
                }
                if (worker != 0) runner.end();
            });
        }
        own.end();
    }
    if (watched && !fault.raised.load(std::memory_order_acquire) && check::never_waited(checks)) {
        fault.code = CUDA_ERROR_LAUNCH_FAILED;
        fault.text = std::string("kernel ") + launch.kernel + ": was launched as a dependent kernel, and no thread of it waited for the kernels before it";
        fault.raised.store(true, std::memory_order_release);
    }
    if (watched) check::end_launch(checks, !fault.raised.load(std::memory_order_acquire));
}

} // namespace emu
