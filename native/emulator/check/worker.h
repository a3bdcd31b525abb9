// What an operating-system thread that runs checked blocks knows: shared by the files of this folder.
#pragma once

#include "check/arena.h"
#include "check/ordering.h"
#include "check/request_log.h"

#include <atomic>
#include <bitset>
#include <mutex>
#include <string>
#include <vector>

namespace check {

enum class Access : u8 { Read, Write, Atomic };

// Two bytes of shared memory. Each word is the time of the last write (or read) in its upper 20 bits, the thread in the next 10, and two
// flags. A time is a count of synchronisations, so "since the barrier" is one comparison and a new block needs no clearing.
struct SharedCell {
    u32 write;
    u32 read;
};

namespace cell {
constexpr u32 kTimeShift = 12;
constexpr u32 kLastTime = (1u << 20) - 1;
constexpr u32 kThreadShift = 2;
constexpr u32 kThreadMask = 1023;
constexpr u32 kWriteKind = 3;          // 0: a plain write
constexpr u32 kWriteWasAtomic = 1;
constexpr u32 kWritePending = 2;       // a copy was issued and has not landed
constexpr u32 kWriteByProxy = 3;       // a bulk copy has landed
constexpr u32 kReadBySeveralLanes = 1;
constexpr u32 kReadBySeveralWarps = 2;
inline u32 word(u32 time, u32 thread) { return time << kTimeShift | thread << kThreadShift; }
inline u32 thread_of(u32 word) { return word >> kThreadShift & kThreadMask; }
inline u32 time_of(u32 word) { return word >> kTimeShift; }
}

struct SharedArray {
    u64 offset;
    u64 bytes;
    const char* name;
};

class Launch {
public:
    explicit Launch(const LaunchInfo& launch_info) : info(launch_info) {}
    const LaunchInfo info;
    LaunchCounts counts;
    std::atomic<bool> waited{false};     // some thread has, for the kernels before

    void note_write(u64 allocation);
    const PendingWrites& written() const { return _written; }

private:
    std::mutex _mutex;
    PendingWrites _written;
};

struct Worker {
    // The running thread and block; `launch` is null between blocks.
    u32 thread = 0;
    bool in_step = false;
    bool counting = false;
    Launch* launch = nullptr;
    Dim3 block_index{};

    // The allocation that was used last, good while `releases` is what it was then.
    Allocation allocation{};
    u64 allocation_releases = ~u64{0};
    u64 library_page = ~u64{0};  // a page of a loaded library

    u64 shared_base = 0;
    std::vector<SharedCell> cells;
    std::vector<SharedArray> arrays;
    u32 time = 2;                // synchronisations so far
    u32 block_start = 1;         // anything older belongs to an earlier block
    u32 block_met = 2;           // the last barrier
    u32 warp_met[32] = {};       // the last meeting of each warp
    u32 cluster_barriers = 0;    // barriers of its cluster that the block has come to
    u32 cluster_met[2] = {};     // when it came to the last two of them: no other block of the cluster is further behind

    Ordering ordering;
    std::vector<u32> proxy_fences;   // by thread: its writes before this time may be read through the async proxy
    std::bitset<1024> waited;    // threads of the block that have waited for the kernels before theirs
    Allocation noted{};          // the last one noted as written

    RequestLog requests;

    // One access of an instrumented kernel by the running thread. `aligned`: its address must be a multiple of its size.
    void access(u64 address, u64 bytes, Access kind, bool aligned, const void* site);
    void count(u64 address, u64 bytes, Access kind, const void* site);
    void async_issued(u64 destination, u64 source, u32 bytes, u32 valid_bytes, const void* site);
    void async_landed(u32 by_thread, u64 destination, u32 bytes, u32 kind = 0);
    void bulk_issued(u64 destination, u32 bytes, const void* site);
    void proxy_read(u64 address, u32 bytes, const void* site);
    // By a thread of another block of the cluster, which has passed so many of its barriers.
    void cluster_read(u64 offset, u32 bytes, u32 passed, const void* site) const;

    void start_block(Launch* of_launch, Dim3 index);
    void pass_barrier();
    void order_warp(u32 warp);
    void release(u64 object, u32 by_thread);
    void fence_proxy(u32 by_thread);
    // Products of warpgroups are readers numbered behind the block's threads.
    u32 reader_of(u32 first_thread) const;
    void see_product(u32 reader, u32 by_thread);

private:
    void early_access(u64 address, u64 bytes, Access kind, const void* site);
    void note_write(u64 address);
    void device_access(u64 address, u64 bytes, Access kind, const void* site);
    void shared_access(u64 offset, u64 bytes, Access kind, const void* site);
    void plain_access(u64 address, u64 bytes, Access kind, const void* site);
    void first_touch(u64 offset, u64 bytes, Access kind, const void* site);
    const Allocation* allocation_of(u64 address);
    const SharedArray* array_of(u64 offset, u64 bytes) const;
    std::string shared_place(u64 offset, u64 bytes) const;
    bool ordered_by_warp(u32 word) const;
    bool ordered_by_objects(u32 word) const;
    void mark_pending(u64 offset, u32 bytes);
    bool write_conflicts(u32 word) const;
    bool read_conflicts(u32 word) const;
    u32 merged_read(u32 old, u32 mine) const;
    [[noreturn]] void race(u64 offset, u64 bytes, Access kind, const char* other, u32 word, const void* site);
    void advance(u32 steps);
    void renumber();
};

// The worker of the calling thread; null where none runs.
extern __thread Worker* current_worker __attribute__((tls_model("initial-exec")));

// "invalid read of 4 bytes".
std::string access_text(const char* problem, Access kind, u64 bytes);
// " at 0x7f00, ".
std::string address_text(u64 address);
// "(17, 0, 0)" for a linear thread index of the running block.
std::string thread_text(const Worker& worker, u32 thread);
// Ends the launch with the text, where it happened put in front.
[[noreturn]] void fault(int result, const std::string& text, const void* site);

} // namespace check
