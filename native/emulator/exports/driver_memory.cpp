// Allocation of device and pinned memory; what the device has left.
#include "check/hooks.h"
#include "core/pinned_memory.h"
#include "core/stream.h"

using namespace emu;

namespace {

CUresult allocate(Context& context, size_t bytes, CUdeviceptr* address) {
    if (!address || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    Device& device = context.device;
    std::lock_guard<std::mutex> lock(device.mutex);
    if (bytes > device.memory_bytes - device.memory_used) return CUDA_ERROR_OUT_OF_MEMORY;
    uint64_t memory = check::allocate(bytes, device.ordinal, device.instrumented());
    if (memory == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    device.memory_used += bytes;
    context.allocations.emplace(memory, bytes);
    *address = memory;
    return CUDA_SUCCESS;
}

CUresult release(Context& context, CUdeviceptr address) {
    if (address == 0) return CUDA_SUCCESS;
    auto entry = context.allocations.find(address);
    if (entry == context.allocations.end()) return CUDA_ERROR_INVALID_VALUE;
    {
        std::lock_guard<std::mutex> lock(context.device.mutex);
        context.device.memory_used -= entry->second;
    }
    context.allocations.erase(entry);
    check::release(address);
    return CUDA_SUCCESS;
}

} // namespace

GRIFFIN_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    GRIFFIN_ENTER_UNSAFE(call);
    return allocate(call.context(), bytes, address);
}

// Ends the allocation at once: work that still uses it was the caller's to wait for, and shows on a checked device.
GRIFFIN_EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    GRIFFIN_ENTER_UNSAFE(call);
    return release(call.context(), address);
}

GRIFFIN_EXPORT CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream) {
    GRIFFIN_ENTER(call);
    Stream* found = find_stream(call.context(), stream);
    if (!found) return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult forbidden = forbid_waiting(*found); forbidden != CUDA_SUCCESS) return forbidden; // no allocation nodes
    return allocate(call.context(), bytes, address);
}

GRIFFIN_EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (address && !call->allocations.count(address)) return CUDA_ERROR_INVALID_VALUE;
    Context* context = &call.context();
    return submit(*stream, [context, address] { return release(*context, address); });
}

GRIFFIN_EXPORT CUresult cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
    GRIFFIN_ENTER(call);
    if (!free_bytes || !total_bytes) return CUDA_ERROR_INVALID_VALUE;
    std::lock_guard<std::mutex> lock(call->device.mutex);
    *total_bytes = call->device.memory_bytes;
    *free_bytes = call->device.memory_bytes - call->device.memory_used;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* bytes, CUdeviceptr address) {
    GRIFFIN_ENTER(call);
    check::Allocation found;
    if (!check::find_allocation(address, &found)) return CUDA_ERROR_NOT_FOUND;
    if (base) *base = found.address;
    if (bytes) *bytes = found.bytes;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!memory || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    *memory = allocate_pinned(bytes);
    return *memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

GRIFFIN_EXPORT CUresult cuMemAllocHost_v2(void** memory, size_t bytes) { return cuMemHostAlloc(memory, bytes, 0); }

GRIFFIN_EXPORT CUresult cuMemFreeHost(void* memory) {
    GRIFFIN_ENTER_UNSAFE(call);
    return free_pinned(memory) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

GRIFFIN_EXPORT CUresult cuMemHostRegister_v2(void* memory, size_t bytes, unsigned) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!memory || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    return register_pinned(memory, bytes) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

GRIFFIN_EXPORT CUresult cuMemHostUnregister(void* memory) {
    GRIFFIN_ENTER_UNSAFE(call);
    return unregister_pinned(memory) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

GRIFFIN_EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* memory, unsigned) {
    GRIFFIN_ENTER(call);
    if (!address || !is_pinned(memory, 1)) return CUDA_ERROR_INVALID_VALUE;
    *address = reinterpret_cast<CUdeviceptr>(memory);
    return CUDA_SUCCESS;
}
