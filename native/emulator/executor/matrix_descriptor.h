// The matrix descriptors of wgmma, read as the PTX ISA documents them: which element of shared memory is element (row, k) of an operand.
#pragma once

#include <cstdint>

namespace emu {

struct MatrixDescriptor {
    // Fields of the 64-bit descriptor; addresses and offsets in bytes.
    std::uint32_t start, leading, stride;
    unsigned base_offset, swizzle_bytes;   // 0, 32, 64 or 128

    explicit MatrixDescriptor(std::uint64_t bits);

    // The shared address of the 16 bytes that hold elements (row, k) to (row, k + 7) of a K-major operand, of 8-aligned k.
    std::uint32_t k_major(unsigned row, unsigned k) const;
    // The shared address of elements (row, k) to (row + 7, k) of an operand whose rows are contiguous, of an 8-aligned row.
    std::uint32_t row_major(unsigned row, unsigned k) const;

private:
    std::uint32_t swizzled(std::uint32_t address) const;
};

} // namespace emu
