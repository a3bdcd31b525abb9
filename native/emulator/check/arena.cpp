#include "check/arena.h"

#include "check/poison.h"

#include <deque>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <sys/mman.h>
#include <vector>

namespace check {

Arena arena;
std::atomic<u64> releases{0};

namespace {

constexpr u64 kPage = 4096;
constexpr u64 kLargestArena = u64{8} << 40;
constexpr u64 kSmallestArena = u64{4} << 30;
constexpr u64 kSharedPart = u64{1} << 30;
constexpr u64 kGuard = 64 * 1024;            // between allocations of checked devices; address space costs nothing
constexpr u64 kUncheckedGuard = kPage;
constexpr u64 kMisplacement = 256;           // a checked allocation starts here in its page: aligned to 256 bytes and to no more
constexpr size_t kRememberedFrees = 4096;
constexpr u64 kWorthHugePages = u64{8} << 20;

struct Entry {
    Allocation allocation;
    u64 mapped;          // the pages it lies in
    u64 mapped_bytes;
    u64 guard;           // unused addresses after them
};

std::shared_mutex table_mutex;               // guards everything below
std::map<u64, Entry> live;                   // by address
std::map<u64, Allocation> freed;             // the last ones that ended, for messages
std::deque<u64> freed_order;
std::multimap<u64, u64> reusable;            // length -> start of address ranges whose allocations ended
u64 fresh = 0;                               // addresses from here on were never used
std::vector<u64> free_shared;
u64 fresh_shared = 0;

u64 page_up(u64 bytes) { return (bytes + kPage - 1) / kPage * kPage; }
void* at(u64 address) { return reinterpret_cast<void*>(address); }

void* reserve(u64 bytes, int protection) {
    void* range = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return range == MAP_FAILED ? nullptr : range;
}

// As much address space as the system gives.
bool reserve_arena() {
    for (u64 bytes = kLargestArena; arena.bytes == 0 && bytes >= kSmallestArena; bytes /= 2) {
        void* memory = reserve(bytes, PROT_NONE);
        if (memory == nullptr) continue;
        void* shadow = reserve(bytes, PROT_READ | PROT_WRITE);
        if (shadow == nullptr) {
            munmap(memory, bytes);
            continue;
        }
        madvise(shadow, bytes, MADV_NOHUGEPAGE);
        madvise(shadow, bytes, MADV_DONTDUMP);
        arena.shadow = static_cast<u8*>(shadow);
        arena.base = reinterpret_cast<u64>(memory);
        arena.device_bytes = bytes - kSharedPart;
        fresh = arena.base + kGuard;
        fresh_shared = arena.base + arena.device_bytes + kGuard;
        arena.bytes = bytes;
    }
    return arena.bytes != 0;
}

bool map_plain(u64 address, u64 bytes) {
    if (mmap(at(address), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) return false;
    // Weights are streamed once a token: with small pages the walk to their addresses costs more than the bytes. A wish; the system may ignore it.
    if (bytes >= kWorthHugePages) madvise(at(address), bytes, MADV_HUGEPAGE);
    return true;
}

// Gives the pages back to the system, and their shadow.
void unmap(u64 address, u64 bytes) {
    mmap(at(address), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    madvise(shadow_of(address), bytes, MADV_DONTNEED);
}

// Fresh addresses while there are any (unchecked memory takes used ones first), else the smallest range of an ended allocation that is
// large enough.
u64 take_addresses(u64 bytes, bool checked) {
    const bool enough_fresh = bytes <= arena.base + arena.device_bytes - fresh;
    const auto fit = reusable.lower_bound(bytes);
    if (fit == reusable.end() || (checked && enough_fresh) || (enough_fresh && fit->first > 2 * bytes)) {
        if (!enough_fresh) return 0;
        fresh += bytes;
        return fresh - bytes;
    }
    const auto [length, start] = *fit;
    reusable.erase(fit);
    if (length > bytes) reusable.emplace(length - bytes, start + bytes);
    return start;
}

void remember_freed(const Allocation& allocation) {
    freed[allocation.address] = allocation;
    freed_order.push_back(allocation.address);
    if (freed_order.size() <= kRememberedFrees) return;
    freed.erase(freed_order.front());
    freed_order.pop_front();
}

bool holds(const Allocation& allocation, u64 address) { return address - allocation.address < allocation.bytes; }

// The live allocation that holds the address, or null.
const Entry* holder(u64 address) {
    auto entry = live.upper_bound(address);
    return entry != live.begin() && holds((--entry)->second.allocation, address) ? &entry->second : nullptr;
}

} // namespace

u64 allocate(u64 bytes, int device, bool checked) {
    const std::unique_lock lock(table_mutex);
    if (bytes == 0 || !reserve_arena() || bytes > arena.device_bytes) return 0;
    const u64 misplacement = checked ? kMisplacement : 0;
    const u64 guard = checked ? kGuard : kUncheckedGuard;
    const u64 mapped_bytes = page_up(misplacement + bytes);
    const u64 mapped = take_addresses(mapped_bytes + guard, checked);
    if (mapped == 0) return 0;
    if (!(checked ? map_poisoned(mapped, mapped_bytes) : map_plain(mapped, mapped_bytes))) {
        unmap(mapped, mapped_bytes);
        reusable.emplace(mapped_bytes + guard, mapped);
        return 0;
    }
    const u64 address = mapped + misplacement;
    live[address] = {{address, bytes, device, checked}, mapped, mapped_bytes, guard};
    freed.erase(address);
    return address;
}

bool release(u64 address) {
    const std::unique_lock lock(table_mutex);
    const auto found = live.find(address);
    if (found == live.end()) return false;
    const Entry entry = found->second;
    live.erase(found);
    releases.fetch_add(1, std::memory_order_release);
    unmap(entry.mapped, entry.mapped_bytes);
    reusable.emplace(entry.mapped_bytes + entry.guard, entry.mapped);
    if (entry.allocation.checked) remember_freed(entry.allocation);
    return true;
}

bool find_allocation(u64 address, Allocation* found) {
    const std::shared_lock lock(table_mutex);
    const Entry* entry = holder(address);
    if (entry == nullptr) return false;
    *found = entry->allocation;
    return true;
}

std::string bytes_text(u64 bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

std::string describe_range(u64 address, u64 bytes) {
    const std::shared_lock lock(table_mutex);
    const auto sized = [](const Allocation& allocation) { return "an allocation of " + bytes_text(allocation.bytes); };
    if (const Entry* entry = holder(address)) {
        const u64 offset = address - entry->allocation.address;
        const u64 inside = entry->allocation.bytes - offset;
        if (bytes <= inside) return "byte " + std::to_string(offset) + " of " + sized(entry->allocation);
        return "the last " + bytes_text(bytes - inside) + " past the end of " + sized(entry->allocation);
    }
    auto ended = freed.upper_bound(address);
    if (ended != freed.begin() && holds((--ended)->second, address))
        return "byte " + std::to_string(address - ended->first) + " of " + sized(ended->second) + " that was freed";
    if (!in_arena(address)) return "not device memory";
    if (!in_device_arena(address)) return "shared memory of another block";
    const auto after = live.upper_bound(address);
    const Allocation* next = after == live.end() ? nullptr : &after->second.allocation;
    const Allocation* previous = after == live.begin() ? nullptr : &std::prev(after)->second.allocation;
    const u64 past = previous == nullptr ? ~u64{0} : address - (previous->address + previous->bytes);
    const u64 before = next == nullptr ? ~u64{0} : next->address - address;
    if (previous != nullptr && past <= before) return (past == 0 ? "just" : bytes_text(past)) + " past the end of " + sized(*previous);
    if (next != nullptr) return bytes_text(before) + " before the start of " + sized(*next);
    return "no allocation is live";
}

u64 take_shared_memory() {
    const std::unique_lock lock(table_mutex);
    if (!reserve_arena()) return 0;
    if (!free_shared.empty()) {
        const u64 address = free_shared.back();
        free_shared.pop_back();
        return address;
    }
    const u64 address = fresh_shared;
    if (address + kSharedArenaBytes > arena.base + arena.bytes || !map_plain(address, kSharedArenaBytes)) return 0;
    fresh_shared += kSharedArenaBytes + kGuard;
    return address;
}

void return_shared_memory(u64 address) {
    const std::unique_lock lock(table_mutex);
    free_shared.push_back(address);
}

} // namespace check
