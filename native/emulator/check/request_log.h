// Access counters: what the threads of a warp requested, grouped into warp requests, and what a launch did to each allocation.
#pragma once

#include "check/arena.h"
#include "check/counters.h"

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace check {

// What a launch did to one allocation. Workers add to it at the same time.
class AllocationCounts {
public:
    explicit AllocationCounts(const Allocation& counted);
    ~AllocationCounts();
    AllocationCounts(const AllocationCounts&) = delete;
    AllocationCounts& operator=(const AllocationCounts&) = delete;

    // Notes bytes requested by one thread.
    void request(u64 address, u64 bytes, bool write);
    void add_request_sectors(u64 sectors, bool write) { request_sectors_[write].fetch_add(sectors, std::memory_order_relaxed); }
    GriffinEmuAllocationRecord record() const;

    const Allocation allocation;

private:
    std::atomic<u64> bytes_[2] = {};
    std::atomic<u64> request_sectors_[2] = {};
    std::atomic<u64> sectors_[2] = {};
    std::atomic<u8>* touched_;   // a byte per sector: bit 0 read, bit 1 written
    u64 touched_bytes_;
};

struct LaunchCounts {
    LaunchCounts();
    const u64 serial;   // no two launches have the same
    std::mutex lock;
    std::vector<std::unique_ptr<AllocationCounts>> allocations;
    std::atomic<u64> shared_bytes[2] = {};
    std::atomic<u64> bank_conflicts{0};
    std::atomic<u64> barriers{0};
    std::atomic<u64> multiply_adds{0};

    AllocationCounts& of(const Allocation& allocation);
};

// The accesses of the running block that wait to be grouped. The lanes of a warp run one after another, so the accesses of one instruction
// are brought together by call site and by how often the lane came by; a meeting of all lanes starts the numbering anew.
class RequestLog {
public:
    void begin(LaunchCounts* counts, u32 threads);
    void global_access(u32 thread, u64 address, u64 bytes, bool read, bool write, const Allocation& allocation, const void* site);
    void shared_access(u32 thread, u64 offset, u64 bytes, bool read, bool write, const void* site);
    void warp_met(u32 warp, u32 mask);
    void block_met();

private:
    struct Entry {
        u32 site;
        u32 occurrence;
        u32 target;    // index of the allocation, or kSharedTarget
        u32 lane;
        u64 address;
        u32 bytes;
        bool write;
    };
    struct WarpLog {
        std::vector<Entry> entries;
        std::vector<u32> occurrences;   // site · 32 + lane
    };
    static constexpr u32 kSharedTarget = ~0u;

    u32 site_index(const void* site);
    u32 next_occurrence(WarpLog& log, u32 site, u32 lane);
    void flush(WarpLog& log);
    void close_group(const Entry* first, const Entry* last);
    void count_sectors(const Entry* first, const Entry* last);
    void count_conflicts(const Entry* first, const Entry* last);

    LaunchCounts* counts_ = nullptr;
    u64 serial_ = 0;
    u32 threads_ = 0;
    std::unordered_map<const void*, u32> sites_;
    std::vector<AllocationCounts*> allocations_;
    std::vector<WarpLog> warps_;
    std::vector<u64> sectors_;
};

// The finished launch's record, kept until griffinEmuCountersTake.
void keep_record(const LaunchInfo& launch, LaunchCounts& counts);

} // namespace check
