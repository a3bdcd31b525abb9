// Tensor maps.
#include "api/cuda_types.h"
#include "api/tensor_map.h"

#include <cstring>

using namespace emu;

namespace {

// Of CUtensorMapDataType, in its order.
constexpr unsigned kElementBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
constexpr uint64_t kLargestDimension = uint64_t{1} << 32, kLargestStride = uint64_t{1} << 40;

} // namespace

// Tiles without interleaving, their elements adjacent, as wide as their swizzle, filled with zeros outside the tensor; anything else is not supported here.
GRIFFIN_EXPORT CUresult cuTensorMapEncodeTiled(void* map, int type, uint32_t rank, void* address, const uint64_t* dimensions, const uint64_t* strides,
                                               const uint32_t* box, const uint32_t* element_strides, int interleave, int swizzle, int l2_promotion, int fill) {
    const auto multiple = [](const void* pointer, uintptr_t of) { return reinterpret_cast<uintptr_t>(pointer) % of == 0; };
    if (!map || !multiple(map, 64) || !address || !multiple(address, 16) || !dimensions || !box || !element_strides) return CUDA_ERROR_INVALID_VALUE;
    if (type < 0 || type >= static_cast<int>(sizeof(kElementBytes) / sizeof(*kElementBytes)) || rank < 1 || rank > TensorMap::kMaxRank) return CUDA_ERROR_INVALID_VALUE;
    if (interleave < 0 || interleave > 2 || swizzle < 0 || swizzle > 3 || l2_promotion < 0 || l2_promotion > 3 || fill < 0 || fill > 1) return CUDA_ERROR_INVALID_VALUE;
    if (interleave != 0 || fill != 0) return CUDA_ERROR_NOT_SUPPORTED;
    if (rank > 1 && !strides) return CUDA_ERROR_INVALID_VALUE;

    TensorMap encoded{};
    encoded.magic = TensorMap::kMagic;
    encoded.address = reinterpret_cast<uint64_t>(address);
    encoded.rank = static_cast<uint8_t>(rank);
    encoded.element_bytes = static_cast<uint8_t>(kElementBytes[type]);
    encoded.swizzle_bytes = static_cast<uint8_t>(swizzle == 0 ? 0 : 16u << swizzle);
    for (uint32_t d = 0; d < rank; ++d) {
        if (dimensions[d] == 0 || dimensions[d] > kLargestDimension || box[d] == 0 || box[d] > 256 || element_strides[d] == 0 || element_strides[d] > 8)
            return CUDA_ERROR_INVALID_VALUE;
        if (element_strides[d] != 1) return CUDA_ERROR_NOT_SUPPORTED;
        encoded.dimensions[d] = static_cast<uint32_t>(dimensions[d] - 1);
        encoded.box[d] = static_cast<uint16_t>(box[d]);
        if (d == 0) continue;
        if (strides[d - 1] == 0 || strides[d - 1] % 16 != 0 || strides[d - 1] >= kLargestStride) return CUDA_ERROR_INVALID_VALUE;
        encoded.strides[d - 1] = strides[d - 1];
    }
    const unsigned row_bytes = box[0] * encoded.element_bytes;
    if (row_bytes % 16 != 0 || (swizzle != 0 && row_bytes > encoded.swizzle_bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (swizzle != 0 && row_bytes != encoded.swizzle_bytes) return CUDA_ERROR_NOT_SUPPORTED;
    memset(map, 0, kTensorMapBytes);
    memcpy(map, &encoded, sizeof(encoded));
    return CUDA_SUCCESS;
}
