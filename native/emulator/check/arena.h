// The range of addresses that device memory and the blocks' shared memory lie in, and its shadow of written bytes.
#pragma once

#include "check/hooks.h"

#include <atomic>

namespace check {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// One shadow byte per byte of device memory. Zero says nothing (outside every allocation, or never written), so shadow pages cost nothing
// until somebody writes.
constexpr u8 kWritten = 1;

// Fixed by the first allocation and empty before it. Device memory comes first, the shared memory of the workers after it.
struct Arena {
    u64 base = 0;
    u64 device_bytes = 0;
    u64 bytes = 0;
    u8* shadow = nullptr;
};
extern Arena arena;

inline bool in_device_arena(u64 address) { return address - arena.base < arena.device_bytes; }
inline bool in_arena(u64 address) { return address - arena.base < arena.bytes; }
inline u8* shadow_of(u64 address) { return arena.shadow + (address - arena.base); }

// Counts allocations that ended: a remembered allocation is good as long as this has not moved.
extern std::atomic<u64> releases;

// "4 bytes past the end of an allocation of 4000 bytes": how the bytes lie to allocations, live and freed.
std::string describe_range(u64 address, u64 bytes);

// "1 byte", "4 bytes".
std::string bytes_text(u64 bytes);

// kSharedArenaBytes of the arena's upper part; 0 when it is used up.
u64 take_shared_memory();
void return_shared_memory(u64 address);

} // namespace check
