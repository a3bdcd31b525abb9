// What the emulator keeps in the 128 opaque bytes of a CUtensorMap: written by cuTensorMapEncodeTiled, read by tensor copies.
#pragma once

#include <cstdint>

namespace emu {

struct TensorMap {
    static constexpr std::uint32_t kMagic = 0x70616D54;
    static constexpr unsigned kMaxRank = 5;

    std::uint64_t address;
    std::uint64_t strides[kMaxRank - 1];   // bytes; that of dimension 0 is the element's size
    std::uint32_t dimensions[kMaxRank];    // less one
    std::uint16_t box[kMaxRank];
    std::uint8_t rank;
    std::uint8_t element_bytes;
    std::uint8_t swizzle_bytes;            // 0, 32, 64 or 128
    std::uint8_t reserved[3];
    std::uint32_t magic;
};

constexpr unsigned kTensorMapBytes = 128;
static_assert(sizeof(TensorMap) <= kTensorMapBytes, "it fits in a CUtensorMap");

} // namespace emu
