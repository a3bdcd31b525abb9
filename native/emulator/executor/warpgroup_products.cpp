#include "executor/warpgroup_products.h"

#include "check/hooks.h"
#include "executor/block_runner.h"
#include "executor/fault.h"
#include "executor/matrix_descriptor.h"
#include "executor/warpgroup_multiply.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace emu {

namespace {

// Where accumulator i of a thread lies in D: four neighbouring ones are two columns of a row and of the row eight below.
unsigned row_of(unsigned thread, unsigned i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
unsigned column_of(unsigned thread, unsigned i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

float widen(unsigned bits) {
    const unsigned word = bits << 16;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
}

} // namespace

WarpgroupProducts::Group& WarpgroupProducts::group_of_current(const void* site) {
    const unsigned index = emu_current->linear / kThreads;
    if (!_runner.launch().has_warpgroups) _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "products of warpgroups need a device of compute capability 9.0", site);
    if ((index + 1) * kThreads > _runner.block().count) _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "the thread's warpgroup is not whole", site);
    _used = true;
    if (!_groups[index]) _groups[index] = std::make_unique<Group>();
    return *_groups[index];
}

void WarpgroupProducts::fence() { group_of_current(nullptr).threads[emu_current->linear % kThreads].fenced = true; }

void WarpgroupProducts::begin(const EmuWarpgroupProduct& product, const void* site) {
    Group& group = group_of_current(site);
    const unsigned self = emu_current->linear, lane = self % kThreads;
    Thread& thread = group.threads[lane];
    if (!thread.fenced) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "a product of a warpgroup without wgmma.fence since the last commit", site);
    if (group.arrived != 0 && group.site != site && !same_site(group.site, site))
        _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "divergent product of a warpgroup: other threads of it wait at " + describe_site(group.site), site);
    group.site = site;
    thread.posted = &product;
    if (++group.arrived < kThreads) {
        _runner.suspend(Wait::Warpgroup, 0, site);
        return;
    }
    group.arrived = 0;
    start(group, site);
    for (unsigned i = 0; i < kThreads; ++i)
        if (i != lane) _runner.resume(self - lane + i);
}

// The accumulators of a product whose threads all have theirs, or none: gathered, or still under way.
WarpgroupProducts::Tile& WarpgroupProducts::tile_of(Group& group, const EmuWarpgroupProduct& product, const void* site) {
    Tile* tile = nullptr;
    for (const auto& known : group.tiles)
        if (known->registers[0] == group.threads[0].posted->accumulators && known->columns == product.columns) tile = known.get();
    if (!tile) {
        for (const auto& known : group.tiles)
            if (!tile && std::none_of(known->held, known->held + kThreads, [](bool held) { return held; })) tile = known.get();
        if (!tile) tile = group.tiles.emplace_back(new Tile()).get();
        std::fill_n(tile->held, kThreads, false);
    }
    const auto held = std::count(tile->held, tile->held + kThreads, true);
    if (held == kThreads) return *tile;
    if (held != 0) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "some threads of a warpgroup have waited for its product, and others not", site);
    tile->columns = product.columns;
    for (unsigned t = 0; t < kThreads; ++t) {
        float* registers = tile->registers[t] = group.threads[t].posted->accumulators;
        tile->held[t] = true;
        for (unsigned i = 0; i < product.columns / 2; ++i) {
            tile->sums[row_of(t, i)][column_of(t, i)] = registers[i];
            if (_runner.watched()) registers[i] = NAN;   // they are the product's until the wait
        }
    }
    return *tile;
}

void WarpgroupProducts::start(Group& group, const void* site) {
    const EmuWarpgroupProduct& product = *group.threads[0].posted;
    for (const Thread& thread : group.threads) {
        const EmuWarpgroupProduct& other = *thread.posted;
        const bool same = other.a == product.a && other.b == product.b && other.columns == product.columns && other.transposed_a == product.transposed_a &&
                          other.transposed_b == product.transposed_b && other.accumulate == product.accumulate;
        if (!same) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "the threads of a warpgroup disagree about their product", site);
    }
    if (product.columns % 8 != 0 || product.columns == 0 || product.columns > kMaxColumns)
        _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "a warpgroup's product of " + std::to_string(product.columns) + " columns", site);
    if (_runner.watched()) check::product_begins(_runner.checker(), emu_current->linear / kThreads * kThreads, kThreads);
    Tile& tile = tile_of(group, product, site);
    tile.last = ++group.begun;
    Product queued{product, &tile, nullptr, site};
    if (product.fragment) {
        queued.fragments.reset(new unsigned[kThreads * 4]);
        for (unsigned t = 0; t < kThreads; ++t) memcpy(&queued.fragments[t * 4], group.threads[t].posted->fragment, 4 * sizeof(unsigned));
    }
    group.queue.push_back(std::move(queued));
}

void WarpgroupProducts::commit() {
    Group& group = group_of_current(nullptr);
    Thread& thread = group.threads[emu_current->linear % kThreads];
    thread.commits.push_back(group.begun);
    thread.fenced = false;
}

void WarpgroupProducts::wait(int groups_left, const void* site) {
    Group& group = group_of_current(site);
    const unsigned lane = emu_current->linear % kThreads;
    std::vector<unsigned long long>& commits = group.threads[lane].commits;
    if (commits.size() <= static_cast<size_t>(groups_left)) return;
    const unsigned long long reached = commits[commits.size() - 1 - static_cast<size_t>(groups_left)];
    commits.erase(commits.begin(), commits.end() - groups_left);
    if (group.done < reached) {
        const auto count = static_cast<std::ptrdiff_t>(reached - group.done);
        for (auto product = group.queue.begin(); product != group.queue.begin() + count; ++product) compute(*product, emu_current->linear - lane);
        group.queue.erase(group.queue.begin(), group.queue.begin() + count);
        group.done = reached;
    }
    if (_runner.watched()) check::product_waited(_runner.checker(), emu_current->linear - lane, emu_current->linear);
    for (const auto& tile : group.tiles)
        if (tile->held[lane] && tile->last <= reached) hand_back(*tile, lane);
}

void WarpgroupProducts::hand_back(Tile& tile, unsigned lane) {
    tile.held[lane] = false;
    for (unsigned i = 0; i < tile.columns / 2; ++i) tile.registers[lane][i] = tile.sums[row_of(lane, i)][column_of(lane, i)];
}

void WarpgroupProducts::compute(Product& product, unsigned first) {
    alignas(64) float a[kRows][kInner];
    alignas(64) float b[kInner][kMaxColumns];
    const EmuWarpgroupProduct& operands = product.operands;
    const unsigned char* window = check::shared_arena(_runner.checker());

    // Eight neighbours of an operand, on behalf of the thread that would read them.
    const auto read = [&](std::uint32_t shared, unsigned thread, unsigned short (&piece)[8]) {
        if (_runner.watched()) check::product_read(_runner.checker(), first, first + thread % kThreads, window + shared, sizeof(piece), product.site);
        memcpy(piece, window + shared, sizeof(piece));
    };
    const auto load = [&](std::uint64_t bits, bool transposed, unsigned rows, const auto& store) {
        const MatrixDescriptor descriptor(bits);
        if (descriptor.base_offset != 0) _runner.fail(CUDA_ERROR_NOT_SUPPORTED, "the emulator takes matrix descriptors with a base offset of 0 only", product.site);
        unsigned short piece[8];
        for (unsigned row = 0; row < rows; row += transposed ? 8 : 1)
            for (unsigned k = 0; k < kInner; k += transposed ? 1 : 8) {
                read(transposed ? descriptor.row_major(row, k) : descriptor.k_major(row, k), transposed ? row / 8 * kInner + k : row, piece);
                for (unsigned i = 0; i < 8; ++i) transposed ? store(row + i, k, widen(piece[i])) : store(row, k + i, widen(piece[i]));
            }
    };

    if (product.fragments) {
        // Each register holds two neighbours along k: of a row, of the row eight below, and both again eight k's further.
        for (unsigned t = 0; t < kThreads; ++t)
            for (unsigned r = 0; r < 4; ++r) {
                const unsigned pair = product.fragments[t * 4 + r];
                float* to = &a[t / 32 * 16 + t % 32 / 4 + r % 2 * 8][t % 4 * 2 + r / 2 * 8];
                to[0] = widen(pair & 0xFFFF);
                to[1] = widen(pair >> 16);
            }
    } else {
        load(operands.a, operands.transposed_a, kRows, [&](unsigned row, unsigned k, float value) { a[row][k] = value; });
    }
    load(operands.b, operands.transposed_b, operands.columns, [&](unsigned row, unsigned k, float value) { b[k][row] = value; });
    if (!operands.accumulate) memset(product.tile->sums, 0, sizeof(product.tile->sums));
    multiply_warpgroup_tile(product.tile->sums, a, b, operands.columns);
    if (_runner.launch().count_accesses) check::count_matrix_ops(std::uint64_t{kRows} * operands.columns * kInner);
}

bool WarpgroupProducts::under_way() const {
    for (const auto& group : _groups)
        if (_used && group && group->done != group->begun) return true;
    return false;
}

void WarpgroupProducts::reset() {
    if (!_used) return;
    _used = false;
    for (auto& group : _groups) {
        if (!group) continue;
        group->arrived = 0;
        group->begun = group->done = 0;
        group->queue.clear();
        group->tiles.clear();
        for (Thread& thread : group->threads) {
            thread.fenced = false;
            thread.commits.clear();
        }
    }
}

} // namespace emu
