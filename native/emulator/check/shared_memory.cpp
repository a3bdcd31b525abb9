// Shared memory of the running block: bounds, initialisation, copies that have not landed, and races between two barriers.
#include "check/worker.h"

#include <algorithm>
#include <cstring>

namespace check {

constexpr u32 kMostReaders = 8;   // warpgroups of a block

const SharedArray* Worker::array_of(u64 offset, u64 bytes) const {
    for (const SharedArray& array : arrays)
        if (offset >= array.offset && offset + bytes <= array.offset + array.bytes) return &array;
    return nullptr;
}

// ", 8 bytes past the end of shared array 'tile' of 1024 bytes".
std::string Worker::shared_place(u64 offset, u64 bytes) const {
    const auto named = [](const SharedArray& array) {
        return std::string("shared array '") + array.name + "' of " + bytes_text(array.bytes);
    };
    const SharedArray* nearest = nullptr;
    u64 best = ~u64{0};
    for (const SharedArray& array : arrays) {
        const u64 end = array.offset + array.bytes;
        if (offset >= array.offset && offset < end) {
            if (offset + bytes <= end) return ", byte " + std::to_string(offset - array.offset) + " of " + named(array);
            return ", the last " + bytes_text(offset + bytes - end) + " past the end of " + named(array);
        }
        const u64 distance = offset < array.offset ? array.offset - offset : offset - end;
        if (distance < best) {
            nearest = &array;
            best = distance;
        }
    }
    if (nearest == nullptr) return ", in shared memory that the launch does not have";
    if (offset < nearest->offset) return ", " + bytes_text(best) + " before the start of " + named(*nearest);
    return ", " + (best == 0 ? "just" : bytes_text(best)) + " past the end of " + named(*nearest);
}

void Worker::race(u64 offset, u64 bytes, Access kind, const char* other, u32 word, const void* site) {
    const u32 their = cell::thread_of(word);
    const std::string who = their == thread ? "another thread" : "thread " + thread_text(*this, their);
    fault(kLaunchFailed,
          access_text("race:", kind, bytes) + shared_place(offset, bytes) + ", and a " + other + " by " + who +
              " with no barrier between them",
          site);
}

// The first access of this block to a cell: it must lie in an array, and a read finds nothing there.
__attribute__((noinline)) void Worker::first_touch(u64 offset, u64 bytes, Access kind, const void* site) {
    if (array_of(offset, bytes) == nullptr)
        fault(kIllegalAddress, access_text("invalid", kind, bytes) + shared_place(offset, bytes), site);
    if (kind != Access::Write)
        fault(kLaunchFailed, access_text("uninitialised", kind, bytes) + shared_place(offset, bytes) + ": the block wrote nothing there",
              site);
}

// Both threads are in one warp whose lanes have met in between. Within a step they all stand still.
inline bool Worker::ordered_by_warp(u32 word) const {
    const u32 warp = thread / 32;
    return cell::thread_of(word) / 32 == warp && (in_step || cell::time_of(word) < warp_met[warp]);
}

// The running thread has met the other at a named barrier or an mbarrier since.
inline bool Worker::ordered_by_objects(u32 word) const {
    return ordering.active() && cell::time_of(word) < ordering.seen(thread, cell::thread_of(word));
}

inline bool Worker::write_conflicts(u32 word) const {
    return cell::thread_of(word) != thread && !ordered_by_warp(word) && !ordered_by_objects(word);
}

// Of several readers since the barrier only the last is known: where objects order threads, it stands for them all.
inline bool Worker::read_conflicts(u32 word) const {
    if (ordering.active()) return write_conflicts(word);
    if (word & cell::kReadBySeveralWarps) return true;
    return ((word & cell::kReadBySeveralLanes) != 0 || cell::thread_of(word) != thread) && !ordered_by_warp(word);
}

// The read word after one more read of a cell that was read since the barrier already.
inline u32 Worker::merged_read(u32 old, u32 mine) const {
    u32 flags = old & cell::kReadBySeveralWarps;
    if (cell::thread_of(old) / 32 != thread / 32) flags |= cell::kReadBySeveralWarps;
    else if (cell::time_of(old) >= warp_met[thread / 32])
        flags |= cell::thread_of(old) != thread ? cell::kReadBySeveralLanes : old & cell::kReadBySeveralLanes;
    return mine | flags;
}

void Worker::shared_access(u64 offset, u64 bytes, Access kind, const void* site) {
    if (bytes == 0) return;
    if (bytes > kSharedArenaBytes - offset || (bytes == 1 && array_of(offset, 1) == nullptr))
        fault(kIllegalAddress, access_text("invalid", kind, bytes) + shared_place(offset, bytes), site);
    const u32 mine = cell::word(time, thread);
    const u32 start = block_start << cell::kTimeShift;
    const u32 met = block_met << cell::kTimeShift;
    const bool exact = bytes > 1;   // a single byte shares its cell with a neighbour that another thread may own
    SharedCell* const end = &cells[(offset + bytes - 1) / 2] + 1;
    for (SharedCell* at = &cells[offset / 2]; at != end; ++at) {
        const u32 write = at->write, read = at->read;
        if (write < start)
            first_touch(offset, bytes, kind, site);
        else if ((write & cell::kWriteKind) == cell::kWritePending)
            fault(kLaunchFailed,
                  access_text("early", kind, bytes) + shared_place(offset, bytes) + ": the asynchronous copy to it has not been waited for",
                  site);
        if (write >= met && exact && write_conflicts(write) && !(kind == Access::Atomic && (write & cell::kWriteKind) == cell::kWriteWasAtomic))
            race(offset, bytes, kind, "write", write, site);
        if (kind == Access::Read) {
            at->read = read >= met ? merged_read(read, mine) : mine;
            continue;
        }
        if (read >= met && exact && read_conflicts(read)) race(offset, bytes, kind, "read", read, site);
        at->write = kind == Access::Atomic ? mine | cell::kWriteWasAtomic : mine;
    }
}

void Worker::cluster_read(u64 offset, u32 bytes, u32 passed, const void* site) const {
    const u32 met = passed == 0 ? block_start : cluster_met[(passed - 1) % 2];
    const std::string what = access_text("", Access::Read, bytes).substr(1) + " in another block of the cluster" + shared_place(offset, bytes);
    if (array_of(offset, bytes) == nullptr) fault(kIllegalAddress, "invalid " + what, site);
    for (u64 i = offset / 2; i <= (offset + bytes - 1) / 2; ++i) {
        const u32 write = cells[i].write;
        if (write < block_start << cell::kTimeShift) fault(kLaunchFailed, "uninitialised " + what + ": that block wrote nothing there", site);
        if (write >= met << cell::kTimeShift || (write & cell::kWriteKind) == cell::kWritePending)
            fault(kLaunchFailed, "race: " + what + ", and a write by that block with no barrier of the cluster between them", site);
    }
}

void Worker::async_issued(u64 destination, u64 source, u32 bytes, u32 valid_bytes, const void* site) {
    if ((source & (bytes - 1)) != 0) fault(kMisalignedAddress, "misaligned source of an asynchronous copy", site);
    const u64 offset = destination - shared_base;
    if (offset >= kSharedArenaBytes)
        fault(kIllegalAddress, "the destination of an asynchronous copy is not in the block's shared memory", site);
    if (valid_bytes != 0) access(source, valid_bytes, Access::Read, false, site);
    access(destination, bytes, Access::Write, true, site);
    mark_pending(offset, bytes);
}

void Worker::mark_pending(u64 offset, u32 bytes) {
    for (u64 i = offset / 2; i <= (offset + bytes - 1) / 2; ++i) cells[i].write = (cells[i].write & ~cell::kWriteKind) | cell::kWritePending;
}

void Worker::async_landed(u32 by_thread, u64 destination, u32 bytes, u32 kind) {
    const u64 offset = destination - shared_base;
    for (u64 i = offset / 2; i <= (offset + bytes - 1) / 2; ++i) cells[i].write = cell::word(time, by_thread) | kind;
}

void Worker::bulk_issued(u64 destination, u32 bytes, const void* site) {
    const u64 offset = destination - shared_base;
    if (offset >= kSharedArenaBytes)
        fault(kIllegalAddress, "the destination of a bulk copy is not in the block's shared memory", site);
    access(destination, bytes, Access::Write, false, site);
    mark_pending(offset, bytes);
}

void Worker::proxy_read(u64 address, u32 bytes, const void* site) {
    const u64 offset = address - shared_base;
    if (offset >= kSharedArenaBytes) fault(kIllegalAddress, "an operand of a warpgroup's product is not in the block's shared memory", site);
    shared_access(offset, bytes, Access::Read, site);
    for (u64 i = offset / 2; i <= (offset + bytes - 1) / 2; ++i) {
        const u32 write = cells[i].write;
        if ((write & cell::kWriteKind) == cell::kWriteByProxy || cell::time_of(write) < proxy_fences[cell::thread_of(write)]) continue;
        fault(kLaunchFailed,
              access_text("unfenced", Access::Read, bytes) + shared_place(offset, bytes) + " by a warpgroup's product: thread " +
                  thread_text(*this, cell::thread_of(write)) + " wrote there and has executed no proxy fence since",
              site);
    }
}

void Worker::release(u64 object, u32 by_thread) {
    advance(1);
    ordering.release(object, by_thread, time);
}

void Worker::fence_proxy(u32 by_thread) {
    advance(1);
    proxy_fences[by_thread] = time;
}

u32 Worker::reader_of(u32 first_thread) const {
    const Dim3 size = launch->info.block;
    return std::min(size.x * size.y * size.z + first_thread / 128, cell::kThreadMask);
}

void Worker::see_product(u32 reader, u32 by_thread) {
    advance(1);
    ordering.see(by_thread, reader, time);
}

void Worker::advance(u32 steps) {
    if (time > cell::kLastTime - steps) renumber();
    time += steps;
}

// The clock has run out: keeps what the running block wrote, forgets everything older.
void Worker::renumber() {
    constexpr u32 kWithoutTime = (1u << cell::kTimeShift) - 1;
    const u32 start = block_start << cell::kTimeShift;
    for (SharedCell& at : cells) {
        at.write = at.write >= start ? (at.write & kWithoutTime) | 1u << cell::kTimeShift : 0;
        at.read = 0;
    }
    block_start = 1;
    block_met = 2;
    cluster_met[0] = cluster_met[1] = 2;
    time = 2;
    memset(warp_met, 0, sizeof(warp_met));
    ordering.forget();
    for (u32& fence : proxy_fences) fence = time;   // which writes came before it is no longer known
}

void Worker::start_block(Launch* of_launch, Dim3 index) {
    launch = of_launch;
    block_index = index;
    thread = 0;
    in_step = false;
    arrays.clear();
    const Dim3 size = of_launch->info.block;
    ordering.start_block(std::min(size.x * size.y * size.z + kMostReaders, cell::kThreadMask + 1));
    proxy_fences.assign(size.x * size.y * size.z, 0);
    advance(2);
    block_start = time - 1;
    block_met = time;
    cluster_barriers = 0;
}

void Worker::pass_barrier() {
    advance(1);
    block_met = time;
}

void Worker::order_warp(u32 warp) {
    advance(1);
    warp_met[warp] = time;
    ordering.join_warp(warp, time);
}

} // namespace check
