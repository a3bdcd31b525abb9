#include "executor/matrix_descriptor.h"

namespace emu {

namespace {

// An offset or address field holds 14 bits, in units of 16 bytes.
std::uint32_t field(std::uint64_t bits, unsigned shift) { return static_cast<std::uint32_t>(bits >> shift & 0x3FFF) << 4; }

} // namespace

MatrixDescriptor::MatrixDescriptor(std::uint64_t bits)
    : start(field(bits, 0)), leading(field(bits, 16)), stride(field(bits, 32)), base_offset(static_cast<unsigned>(bits >> 49 & 7)) {
    const unsigned mode = static_cast<unsigned>(bits >> 62);
    swizzle_bytes = mode == 0 ? 0 : 256u >> mode;
}

// Eight rows of the swizzle's width follow one another; within them the 16-byte pieces are exchanged by the row that the address lies in.
std::uint32_t MatrixDescriptor::swizzled(std::uint32_t address) const {
    return swizzle_bytes == 0 ? address : address ^ ((address >> 7 & (swizzle_bytes / 16 - 1)) << 4);
}

// Without a swizzle the unit is a core matrix of eight rows of 16 bytes: `leading` to the next one along k, `stride` to the next eight rows.
// With one the eight rows are `swizzle_bytes` wide and hold all of k: only `stride` is used.
std::uint32_t MatrixDescriptor::k_major(unsigned row, unsigned k) const {
    const std::uint32_t group = start + row / 8 * stride;
    if (swizzle_bytes == 0) return group + row % 8 * 16 + k / 8 * leading;
    return swizzled(group + row % 8 * swizzle_bytes + k * 2);
}

// Without a swizzle the core matrix is eight k's of 16 bytes: `stride` to the next eight rows of the operand, `leading` to the next eight k's.
// With one a k holds swizzle_bytes / 2 rows: `leading` to as many rows more, `stride` to the next eight k's.
std::uint32_t MatrixDescriptor::row_major(unsigned row, unsigned k) const {
    if (swizzle_bytes == 0) return start + row / 8 * stride + k / 8 * leading + k % 8 * 16;
    const unsigned width = swizzle_bytes / 2;
    return swizzled(start + row / width * leading + k / 8 * stride + k % 8 * swizzle_bytes + row % width * 2);
}

} // namespace emu
