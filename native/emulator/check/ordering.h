// Which threads of a block have seen what others did, where they meet at objects that not all of them share: named barriers and mbarriers.
#pragma once

#include "check/arena.h"

#include <unordered_map>
#include <vector>

namespace check {

// A vector clock for each thread and each object. A clock's entry for a thread is a time: everything that thread did before it has been seen.
class Ordering {
public:
    void start_block(u32 threads);
    // Until a block uses such an object, barriers and warps say it all.
    bool active() const { return active_; }
    // The time up to which `thread` has seen the accesses of `other`.
    u32 seen(u32 thread, u32 other) const { return clocks_[thread * threads_ + other]; }

    void release(u64 object, u32 thread, u32 time);
    void complete_phase(u64 object);
    void acquire(u64 object, u32 thread);
    // `reader` has seen what all of these threads have.
    void begin_product(u32 reader, u32 first, u32 threads);
    void see(u32 thread, u32 other, u32 time);
    // The lanes of a warp have met: each has seen what the others did, and what they have seen.
    void join_warp(u32 warp, u32 time);
    // Times start anew, and everything before is in order.
    void forget();

private:
    struct Object {
        std::vector<u32> gathering, completed;
    };

    void use();
    u32* clock(u32 thread) { return &clocks_[thread * threads_]; }

    bool active_ = false;
    u32 threads_ = 0;
    std::vector<u32> clocks_;
    std::unordered_map<u64, Object> objects_;
};

} // namespace check
