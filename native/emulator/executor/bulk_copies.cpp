#include "executor/bulk_copies.h"

#include "api/tensor_map.h"
#include "check/hooks.h"
#include "executor/block_runner.h"

#include <cstring>

namespace emu {

namespace {

constexpr unsigned kPiece = 16;   // what a swizzle moves as one

// Bits 4 to 6 of a shared address are exchanged by those from bit 7 on, as many as the swizzle's span has pieces.
std::uint64_t swizzled(std::uint64_t shared_address, unsigned swizzle_bytes) {
    return swizzle_bytes == 0 ? shared_address : shared_address ^ ((shared_address >> 7 & (swizzle_bytes / kPiece - 1)) << 4);
}

} // namespace

void BulkCopies::require(bool condition, const char* what, const void* site) {
    if (!condition) _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, what, site);
}

// The destination as a whole: bounds, order, and nothing plausible there until the copy lands.
void BulkCopies::begin(unsigned char* destination, unsigned bytes, void* barrier, const void* site) {
    require(_runner.launch().has_warpgroups, "bulk copies need a device of compute capability 9.0", site);
    _runner.mbarriers().require_for_copies(barrier, site);
    if (_runner.watched()) {
        check::bulk_issued(destination, bytes, site);
        memset(destination, 0xFF, bytes);
    }
    _copies.push_back({barrier, emu_current->linear, bytes, {}});
}

void BulkCopies::issue(void* destination, const void* source, unsigned bytes, void* barrier, const void* site) {
    const auto aligned = [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % kPiece == 0; };
    require(bytes % kPiece == 0 && aligned(destination) && aligned(source), "a bulk copy's addresses and size are multiples of 16 bytes", site);
    auto* to = static_cast<unsigned char*>(destination);
    begin(to, bytes, barrier, site);
    if (_runner.watched()) check::bulk_source(source, bytes, site);
    _copies.back().pieces.push_back({to, static_cast<const unsigned char*>(source), bytes});
}

void BulkCopies::issue_tensor(void* destination, const void* map_address, const int* coordinates, unsigned rank, void* barrier, const void* site) {
    require(reinterpret_cast<std::uintptr_t>(map_address) % 64 == 0, "a tensor map lies at a multiple of 64 bytes", site);
    const TensorMap& map = *static_cast<const TensorMap*>(map_address);
    require(map.magic == TensorMap::kMagic, "the tensor map was not made by cuTensorMapEncodeTiled", site);
    require(map.rank == rank, "the tensor map has another number of dimensions", site);
    require(reinterpret_cast<std::uintptr_t>(destination) % 128 == 0, "a tensor copy's destination is a multiple of 128 bytes", site);

    const unsigned row_bytes = map.box[0] * map.element_bytes;
    unsigned rows = 1;
    for (unsigned d = 1; d < rank; ++d) rows *= map.box[d];
    auto* base = static_cast<unsigned char*>(destination);
    begin(base, rows * row_bytes, barrier, site);
    std::vector<Piece>& pieces = _copies.back().pieces;

    const std::int64_t columns = std::int64_t{map.dimensions[0]} + 1;
    const std::int64_t first = coordinates[0] < 0 ? -std::int64_t{coordinates[0]} : 0;                 // columns of the box that exist
    const std::int64_t last = columns - coordinates[0] < map.box[0] ? columns - coordinates[0] : map.box[0];
    for (unsigned row = 0; row < rows; ++row) {
        bool exists = first < last;
        std::uint64_t source = map.address;
        for (unsigned d = 1, rest = row; d < rank; rest /= map.box[d++]) {
            const std::int64_t at = std::int64_t{coordinates[d]} + rest % map.box[d];
            exists = exists && at >= 0 && at <= std::int64_t{map.dimensions[d]};
            source += static_cast<std::uint64_t>(at) * map.strides[d - 1];
        }
        const std::int64_t begins = exists ? first * map.element_bytes : row_bytes, ends = exists ? last * map.element_bytes : row_bytes;
        source += static_cast<std::uint64_t>(std::int64_t{coordinates[0]} * map.element_bytes);
        if (exists && _runner.watched()) check::bulk_source(reinterpret_cast<const void*>(source + static_cast<std::uint64_t>(begins)), static_cast<unsigned>(ends - begins), site);
        for (std::int64_t at = 0; at < row_bytes;) {
            // Pieces end where a swizzled one does, and where the tensor begins and ends.
            std::int64_t next = (at / kPiece + 1) * kPiece;
            if (at < begins && begins < next) next = begins;
            else if (at < ends && ends < next) next = ends;
            const std::uint64_t linear = emu_shared_address(base + std::uint64_t{row} * row_bytes + static_cast<std::uint64_t>(at));
            unsigned char* to = base + (swizzled(linear, map.swizzle_bytes) - emu_shared_address(base));
            pieces.push_back({to, at >= begins && at < ends ? reinterpret_cast<const unsigned char*>(source) + at : nullptr, static_cast<unsigned>(next - at)});
            at = next;
        }
    }
}

void BulkCopies::land(void* barrier) {
    for (size_t i = 0; i < _copies.size();) {
        if (_copies[i].barrier != barrier) {
            ++i;
            continue;
        }
        const Copy copy = std::move(_copies[i]);
        _copies.erase(_copies.begin() + static_cast<std::ptrdiff_t>(i));
        for (const Piece& piece : copy.pieces) {
            if (piece.source) memcpy(piece.destination, piece.source, piece.bytes);
            else memset(piece.destination, 0, piece.bytes);
            if (_runner.watched()) check::bulk_landed(_runner.checker(), copy.thread, piece.destination, piece.bytes);
        }
        _runner.mbarriers().complete_bytes(barrier, copy.bytes, copy.thread);
    }
}

bool BulkCopies::land_waited() {
    for (const Copy& copy : _copies) {
        if (!_runner.mbarriers().waited_for(copy.barrier)) continue;
        land(copy.barrier);
        return true;
    }
    return false;
}

} // namespace emu
