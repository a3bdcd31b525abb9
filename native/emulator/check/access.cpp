// Every load, store and atomic of an instrumented kernel: bounds, lifetime, initialisation and alignment of device memory.
#include "check/worker.h"

#include <cstring>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <shared_mutex>

namespace check {

__thread Worker* current_worker __attribute__((tls_model("initial-exec")));

namespace {

std::shared_mutex plain_mutex;
std::map<u64, u64> plain_ranges;   // pinned host memory: begin -> bytes
constexpr u64 kPage = 4096;
constexpr u64 kStackBytes = 512 * 1024;      // at least a fibre's
constexpr u64 kEighth = 0x0101010101010101;

inline bool all_written(const u8* written, u64 bytes) {
    static_assert(kWritten == 1, "the patterns below");
    switch (bytes) {
    case 1:
        return *written == kWritten;
    case 2: {
        u16 two;
        memcpy(&two, written, sizeof(two));
        return two == static_cast<u16>(kEighth);
    }
    case 4: {
        u32 four;
        memcpy(&four, written, sizeof(four));
        return four == static_cast<u32>(kEighth);
    }
    case 8: {
        u64 eight;
        memcpy(&eight, written, sizeof(eight));
        return eight == kEighth;
    }
    case 16: {
        u64 eights[2];
        memcpy(eights, written, sizeof(eights));
        return (eights[0] & eights[1]) == kEighth;
    }
    default:
        return memchr(written, 0, bytes) == nullptr;
    }
}

} // namespace

std::string address_text(u64 address) {
    char text[32];
    snprintf(text, sizeof(text), " at 0x%llx, ", static_cast<unsigned long long>(address));
    return text;
}

std::string access_text(const char* problem, Access kind, u64 bytes) {
    const char* verb = kind == Access::Read ? " read of " : kind == Access::Write ? " write of " : " atomic operation on ";
    return problem + (verb + bytes_text(bytes));
}

const Allocation* Worker::allocation_of(u64 address) {
    const u64 now = releases.load(std::memory_order_acquire);
    if (allocation_releases != now || address - allocation.address >= allocation.bytes) {
        allocation_releases = now;
        if (!find_allocation(address, &allocation)) {
            allocation = {};
            return nullptr;
        }
    }
    return &allocation;
}

// The access is not known to be good: finds out why, or notes the first write.
__attribute__((noinline)) void Worker::device_access(u64 address, u64 bytes, Access kind, const void* site) {
    const auto place = [&] { return address_text(address) + describe_range(address, bytes); };
    const Allocation* holder = allocation_of(address);
    if (holder == nullptr || bytes > holder->bytes - (address - holder->address))
        fault(kIllegalAddress, access_text("invalid", kind, bytes) + place(), site);
    if (holder->device != launch->info.device)
        fault(kIllegalAddress, access_text("invalid", kind, bytes) + place() + " of another device", site);
    u8* written = shadow_of(address);
    if (kind != Access::Write && !all_written(written, bytes)) {
        const u64 first = static_cast<u64>(static_cast<u8*>(memchr(written, 0, bytes)) - written);
        fault(kLaunchFailed,
                    access_text("uninitialised", kind, bytes) + place() + ": nobody wrote byte " +
                        std::to_string(address + first - holder->address),
                    site);
    }
    if (kind != Access::Read) memset(written, kWritten, bytes);
}

// Local variables lie above this frame; within a step, also on other stacks.
__attribute__((noinline)) void Worker::plain_access(u64 address, u64 bytes, Access kind, const void* site) {
    if (in_step || address - reinterpret_cast<u64>(__builtin_frame_address(0)) < kStackBytes || address / kPage == library_page) return;
    {
        const std::shared_lock lock(plain_mutex);
        auto range = plain_ranges.upper_bound(address);
        if (range != plain_ranges.begin() && address - (--range)->first < range->second) return;
    }
    Dl_info library;
    if (dladdr(reinterpret_cast<void*>(address), &library) == 0)
        fault(kIllegalAddress, access_text("invalid", kind, bytes) + address_text(address) + describe_range(address, bytes), site);
    library_page = address / kPage;
}

void Worker::access(u64 address, u64 bytes, Access kind, bool aligned, const void* site) {
    if (in_device_arena(address)) {
        if (aligned && (address & (bytes - 1)) != 0)
            fault(kMisalignedAddress,
                  access_text("misaligned", kind, bytes) + address_text(address) + describe_range(address, bytes), site);
        if (launch->info.pending != nullptr && !waited[thread]) early_access(address, bytes, kind, site);
        if (!all_written(shadow_of(address), bytes)) device_access(address, bytes, kind, site);
        if (kind != Access::Read && launch->info.written != nullptr) note_write(address);
    } else if (address - shared_base < kSharedArenaBytes) {
        if (aligned && (address & (bytes - 1)) != 0)
            fault(kMisalignedAddress, access_text("misaligned", kind, bytes) + shared_place(address - shared_base, bytes), site);
        shared_access(address - shared_base, bytes, kind, site);
    } else {
        plain_access(address, bytes, kind, site);
        return;
    }
    if (counting && !in_step) count(address, bytes, kind, site);
}

// An access that was found good.
__attribute__((noinline)) void Worker::count(u64 address, u64 bytes, Access kind, const void* site) {
    const bool read = kind != Access::Write, write = kind != Access::Read;
    if (in_device_arena(address)) requests.global_access(thread, address, bytes, read, write, *allocation_of(address), site);
    else if (address - shared_base < kSharedArenaBytes) requests.shared_access(thread, address - shared_base, bytes, read, write, site);
}

void allow_plain_range(const void* begin, u64 bytes) {
    const std::unique_lock lock(plain_mutex);
    plain_ranges[reinterpret_cast<u64>(begin)] = bytes;
}

void forget_plain_range(const void* begin) {
    const std::unique_lock lock(plain_mutex);
    plain_ranges.erase(reinterpret_cast<u64>(begin));
}

} // namespace check
