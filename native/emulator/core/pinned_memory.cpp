#include "core/pinned_memory.h"

#include "check/hooks.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>

namespace emu {

namespace {

struct Range { size_t bytes; bool owned; };
std::mutex mutex;
std::map<uintptr_t, Range>& ranges() {
    static auto* instance = new std::map<uintptr_t, Range>; // outlives static destruction
    return *instance;
}

bool erase(void* memory, bool owned) {
    std::lock_guard<std::mutex> lock(mutex);
    auto entry = ranges().find(reinterpret_cast<uintptr_t>(memory));
    if (entry == ranges().end() || entry->second.owned != owned) return false;
    ranges().erase(entry);
    check::forget_plain_range(memory);
    return true;
}

bool insert(void* memory, size_t bytes, bool owned) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!ranges().try_emplace(reinterpret_cast<uintptr_t>(memory), Range{bytes, owned}).second) return false;
    check::allow_plain_range(memory, bytes);
    return true;
}

} // namespace

void* allocate_pinned(size_t bytes) {
    void* memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (memory) insert(memory, bytes, true);
    return memory;
}

bool free_pinned(void* memory) {
    if (!erase(memory, true)) return false;
    free(memory);
    return true;
}

bool register_pinned(void* memory, size_t bytes) { return insert(memory, bytes, false); }
bool unregister_pinned(void* memory) { return erase(memory, false); }

bool is_pinned(const void* memory, size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex);
    auto address = reinterpret_cast<uintptr_t>(memory);
    auto entry = ranges().upper_bound(address);
    if (entry == ranges().begin()) return false;
    --entry;
    return address + bytes <= entry->first + entry->second.bytes;
}

} // namespace emu
