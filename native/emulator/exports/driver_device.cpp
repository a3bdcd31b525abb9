// cuInit, versions, error names, devices.
#include "core/context.h"

#include <cstring>
#include <dlfcn.h>

using namespace emu;

namespace {

constexpr int kDriverVersion = 12040;

struct ErrorText { CUresult code; const char* name; const char* text; };
constexpr ErrorText kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEINITIALIZED, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {CUDA_ERROR_FILE_NOT_FOUND, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CUDA_ERROR_ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "too many blocks in cooperative launch"},
    {CUDA_ERROR_INVALID_CLUSTER_SIZE, "CUDA_ERROR_INVALID_CLUSTER_SIZE", "cluster misconfiguration"},
    {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "operation would result in a merge of separate capture sequences"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

CUresult error_text(CUresult code, const char** text, const char* ErrorText::* field) {
    if (!text) return CUDA_ERROR_INVALID_VALUE;
    for (const ErrorText& error : kErrors) {
        if (error.code != code) continue;
        *text = error.*field;
        return CUDA_SUCCESS;
    }
    *text = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

// Attribute numbers are CUdevice_attribute's.
bool attribute(const Device& device, int number, int& value) {
    const DeviceLimits& limits = device.limits;
    switch (number) {
    case 1: case 2: case 3: value = 1024; return true;              // threads per block, block x, y
    case 4: value = 64; return true;                                // block z
    case 5: value = 0x7FFFFFFF; return true;                        // grid x
    case 6: case 7: value = 65535; return true;                     // grid y, z
    case 8: value = 49152; return true;                             // shared memory per block
    case 9: value = 65536; return true;                             // constant memory
    case 10: value = 32; return true;                               // warp size
    case 11: value = 0x7FFFFFFF; return true;                       // pitch
    case 12: case 82: value = 65536; return true;                   // registers per block, per multiprocessor
    case 13: value = 1410000; return true;                          // clock, kHz
    case 14: value = 512; return true;                              // texture alignment
    case 15: case 19: case 31: case 41: value = 1; return true;     // overlap, mapped memory, concurrent kernels, unified addresses
    case 16: value = limits.multiprocessors; return true;
    case 36: value = 1215000; return true;                          // memory clock, kHz
    case 37: value = 5120; return true;                             // bus width
    case 38: value = 40 << 20; return true;                         // level-two cache
    case 39: value = limits.threads_per_multiprocessor; return true;
    case 40: value = 2; return true;                                // copy engines
    case 75: value = device.config.compute_major; return true;
    case 76: value = device.config.compute_minor; return true;
    case 78: case 79: case 80: case 95: case 115: value = 1; return true; // priorities, caches, cooperative launch, memory pools
    case 81: value = limits.shared_per_multiprocessor; return true;
    case 97: value = limits.shared_per_block_opt_in; return true;
    case 106: value = limits.blocks_per_multiprocessor; return true;
    case 111: value = 1024; return true;                            // shared memory the driver keeps per block
    default: value = 0; return number > 0 && number < 140;
    }
}

} // namespace

GRIFFIN_EXPORT CUresult cuInit(unsigned flags) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    initialise_driver();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDriverGetVersion(int* version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = kDriverVersion;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGetErrorName(CUresult code, const char** name) { return error_text(code, name, &ErrorText::name); }
GRIFFIN_EXPORT CUresult cuGetErrorString(CUresult code, const char** text) { return error_text(code, text, &ErrorText::text); }

GRIFFIN_EXPORT CUresult cuDeviceGetCount(int* count) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    if (!count) return CUDA_ERROR_INVALID_VALUE;
    *count = device_count();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    if (!device) return CUDA_ERROR_INVALID_VALUE;
    if (!find_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice ordinal) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!name || length <= 0) return CUDA_ERROR_INVALID_VALUE;
    strncpy(name, device->name().c_str(), static_cast<size_t>(length));
    name[length - 1] = 0;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice ordinal) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!bytes) return CUDA_ERROR_INVALID_VALUE;
    *bytes = device->memory_bytes;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice ordinal) {
    if (!find_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    if (!uuid) return CUDA_ERROR_INVALID_VALUE;
    memcpy(uuid->bytes, "griffin-emulator", sizeof(uuid->bytes));
    uuid->bytes[15] = static_cast<unsigned char>(ordinal);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDeviceGetAttribute(int* value, int number, CUdevice ordinal) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!value || !attribute(*device, number, *value)) return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
    if (!symbol || !function) return CUDA_ERROR_INVALID_VALUE;
    Dl_info self{};
    dladdr(reinterpret_cast<void*>(&cuInit), &self);
    void* library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *function = dlsym(library, (std::string(symbol) + "_v2").c_str());
    if (!*function) *function = dlsym(library, symbol);
    dlclose(library);
    if (status) *status = *function ? 0 : 1;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
