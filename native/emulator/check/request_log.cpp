#include "check/request_log.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <sys/mman.h>
#include <tuple>

namespace check {

namespace {

constexpr u64 kSectorBytes = 32;
constexpr u32 kWarpLanes = 32;
constexpr u32 kBanks = 32;
constexpr u32 kBankBytes = 4;
constexpr u32 kBankRowBytes = kBanks * kBankBytes;
constexpr u32 kMaximumThreads = 1024;

std::atomic<u64> next_serial{1};
std::mutex records_lock;
std::map<int, std::deque<GriffinEmuLaunchRecord>> records;

} // namespace

AllocationCounts::AllocationCounts(const Allocation& counted) : allocation(counted) {
    touched_bytes_ = (counted.address % kSectorBytes + counted.bytes + kSectorBytes - 1) / kSectorBytes;
    void* memory = mmap(nullptr, touched_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    touched_ = memory == MAP_FAILED ? nullptr : static_cast<std::atomic<u8>*>(memory);
}

AllocationCounts::~AllocationCounts() {
    if (touched_ != nullptr)
        munmap(touched_, touched_bytes_);
}

void AllocationCounts::request(u64 address, u64 bytes, bool write) {
    bytes_[write].fetch_add(bytes, std::memory_order_relaxed);
    if (touched_ == nullptr)
        return;
    const u64 first_sector = allocation.address / kSectorBytes;
    const u8 bit = write ? 2 : 1;
    for (u64 sector = address / kSectorBytes; sector <= (address + bytes - 1) / kSectorBytes; sector++)
        if ((touched_[sector - first_sector].fetch_or(bit, std::memory_order_relaxed) & bit) == 0)
            sectors_[write].fetch_add(1, std::memory_order_relaxed);
}

GriffinEmuAllocationRecord AllocationCounts::record() const {
    GriffinEmuAllocationRecord record{};
    record.address = allocation.address;
    record.bytes = allocation.bytes;
    record.bytes_read = bytes_[0];
    record.bytes_written = bytes_[1];
    record.request_sectors_read = request_sectors_[0];
    record.request_sectors_written = request_sectors_[1];
    record.sectors_read = sectors_[0];
    record.sectors_written = sectors_[1];
    return record;
}

LaunchCounts::LaunchCounts() : serial(next_serial.fetch_add(1)) {}

AllocationCounts& LaunchCounts::of(const Allocation& allocation) {
    const std::lock_guard guard(lock);
    for (const auto& known : allocations)
        if (known->allocation.address == allocation.address)
            return *known;
    allocations.push_back(std::make_unique<AllocationCounts>(allocation));
    return *allocations.back();
}

void RequestLog::begin(LaunchCounts* counts, u32 threads) {
    if (counts->serial != serial_) {
        counts_ = counts;
        serial_ = counts->serial;
        sites_.clear();
        allocations_.clear();
    }
    threads_ = threads;
    warps_.resize(kMaximumThreads / kWarpLanes);
    for (WarpLog& log : warps_) {   // a faulted block may have left something
        log.entries.clear();
        log.occurrences.clear();
    }
}

u32 RequestLog::site_index(const void* site) {
    return sites_.try_emplace(site, static_cast<u32>(sites_.size())).first->second;
}

u32 RequestLog::next_occurrence(WarpLog& log, u32 site, u32 lane) {
    const std::size_t index = std::size_t{site} * kWarpLanes + lane;
    if (index >= log.occurrences.size())
        log.occurrences.resize((std::size_t{site} + 1) * kWarpLanes);
    return log.occurrences[index]++;
}

void RequestLog::global_access(u32 thread, u64 address, u64 bytes, bool read, bool write, const Allocation& allocation, const void* site) {
    u32 target = 0;
    while (target < allocations_.size() && allocations_[target]->allocation.address != allocation.address)
        target++;
    if (target == allocations_.size())
        allocations_.push_back(&counts_->of(allocation));
    WarpLog& log = warps_[thread / kWarpLanes];
    const u32 lane = thread % kWarpLanes;
    const u32 index = site_index(site);
    const u32 occurrence = next_occurrence(log, index, lane);
    for (const bool is_write : {false, true}) {
        if (is_write ? !write : !read)
            continue;
        allocations_[target]->request(address, bytes, is_write);
        log.entries.push_back({index, occurrence, target, lane, address, static_cast<u32>(bytes), is_write});
    }
}

void RequestLog::shared_access(u32 thread, u64 offset, u64 bytes, bool read, bool write, const void* site) {
    WarpLog& log = warps_[thread / kWarpLanes];
    const u32 lane = thread % kWarpLanes;
    const u32 index = site_index(site);
    const u32 occurrence = next_occurrence(log, index, lane);
    for (const bool is_write : {false, true}) {
        if (is_write ? !write : !read)
            continue;
        counts_->shared_bytes[is_write].fetch_add(bytes, std::memory_order_relaxed);
        log.entries.push_back({index, occurrence, kSharedTarget, lane, offset, static_cast<u32>(bytes), is_write});
    }
}

void RequestLog::warp_met(u32 warp, u32 mask) {
    const u32 lanes = std::min(kWarpLanes, threads_ - warp * kWarpLanes);
    const u32 all = lanes == kWarpLanes ? ~0u : (1u << lanes) - 1;
    if ((mask & all) == all)
        flush(warps_[warp]);
}

void RequestLog::block_met() {
    for (WarpLog& log : warps_)
        flush(log);
}

void RequestLog::flush(WarpLog& log) {
    const auto request = [](const Entry& entry) { return std::make_tuple(entry.site, entry.occurrence, entry.write, entry.target); };
    std::sort(log.entries.begin(), log.entries.end(), [&](const Entry& a, const Entry& b) {
        return std::make_tuple(request(a), a.lane) < std::make_tuple(request(b), b.lane);
    });
    const Entry* const end = log.entries.data() + log.entries.size();
    for (const Entry* first = log.entries.data(); first != end;) {
        const Entry* last = first;
        while (last != end && request(*last) == request(*first))
            last++;
        if (first->target == kSharedTarget)
            count_conflicts(first, last);
        else
            count_sectors(first, last);
        first = last;
    }
    log.entries.clear();
    log.occurrences.assign(log.occurrences.size(), 0);
}

void RequestLog::count_sectors(const Entry* first, const Entry* last) {
    sectors_.clear();
    for (const Entry* entry = first; entry != last; entry++)
        for (u64 sector = entry->address / kSectorBytes; sector <= (entry->address + entry->bytes - 1) / kSectorBytes; sector++)
            sectors_.push_back(sector);
    std::sort(sectors_.begin(), sectors_.end());
    const auto distinct = static_cast<u64>(std::unique(sectors_.begin(), sectors_.end()) - sectors_.begin());
    allocations_[first->target]->add_request_sectors(distinct, first->write);
}

// The hardware serves 128 bytes a pass: all lanes of 4-byte accesses together, half a warp of 8-byte ones, a quarter of 16-byte ones.
// Within each such part, every further word of the same bank costs a pass; lanes that want the same word share it.
void RequestLog::count_conflicts(const Entry* first, const Entry* last) {
    const u32 bytes = std::max(first->bytes, kBankBytes);
    if (bytes > 16)
        return;
    const u32 lanes_per_pass = kBankRowBytes / bytes;
    u64 conflicts = 0;
    while (first != last) {
        const u32 part = first->lane / lanes_per_pass;
        sectors_.clear();
        for (; first != last && first->lane / lanes_per_pass == part; first++)
            for (u64 word = first->address / kBankBytes; word <= (first->address + first->bytes - 1) / kBankBytes; word++)
                sectors_.push_back(word);
        std::sort(sectors_.begin(), sectors_.end());
        sectors_.erase(std::unique(sectors_.begin(), sectors_.end()), sectors_.end());
        u32 words[kBanks] = {};
        u32 passes = 0;
        for (const u64 word : sectors_)
            passes = std::max(passes, ++words[word % kBanks]);
        conflicts += passes - 1;
    }
    counts_->bank_conflicts.fetch_add(conflicts, std::memory_order_relaxed);
}

void keep_record(const LaunchInfo& launch, LaunchCounts& counts) {
    GriffinEmuLaunchRecord record{};
    std::snprintf(record.kernel, sizeof record.kernel, "%s", launch.kernel);
    const u32 grid[] = {launch.grid.x, launch.grid.y, launch.grid.z};
    const u32 block[] = {launch.block.x, launch.block.y, launch.block.z};
    std::copy(grid, grid + 3, record.grid);
    std::copy(block, block + 3, record.block);
    record.dynamic_shared_bytes = launch.dynamic_shared_bytes;
    record.shared_bytes_read = counts.shared_bytes[0];
    record.shared_bytes_written = counts.shared_bytes[1];
    record.bank_conflicts = counts.bank_conflicts;
    record.barriers = counts.barriers;
    record.matrix_multiply_adds = counts.multiply_adds;
    std::sort(counts.allocations.begin(), counts.allocations.end(),
              [](const auto& a, const auto& b) { return a->allocation.address < b->allocation.address; });
    record.allocation_count = static_cast<u32>(counts.allocations.size());
    for (u32 i = 0; i < std::min<u32>(record.allocation_count, GRIFFIN_EMU_RECORD_ALLOCATIONS); i++)
        record.allocations[i] = counts.allocations[i]->record();
    const std::lock_guard guard(records_lock);
    records[launch.device].push_back(record);
}

} // namespace check

extern "C" __attribute__((visibility("default"))) int griffinEmuCountersTake(int device, GriffinEmuLaunchRecord* taken, int max) {
    const std::lock_guard guard(check::records_lock);
    auto& waiting = check::records[device];
    if (taken == nullptr)
        return static_cast<int>(waiting.size());
    int count = 0;
    while (count < max && !waiting.empty()) {
        taken[count++] = waiting.front();
        waiting.pop_front();
    }
    return count;
}
