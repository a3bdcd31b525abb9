// A driver whose calls do nothing and succeed at once, as StubCuda.cs, for bindings that take a library and no function pointers.
// What is measured over it is the host's own cost of a launch. Built with -p:WithManagedCuda=true only.
#include <stddef.h>
#include <stdint.h>

#define GIVES(name, type, value) int name(type* out) { *out = (value); return 0; }
#define SUCCEEDS(name) int name(void) { return 0; }

enum { kMajor = 75, kMinor = 76, kAnything = 1024 };

GIVES(cuDriverGetVersion, int, 12080)
GIVES(cuDeviceGetCount, int, 1)
GIVES(cuDeviceGet, int, 0)
GIVES(cuDeviceTotalMem_v2, size_t, 4096)
GIVES(cuFuncGetAttribute, int, kAnything)
GIVES(cuCtxGetDevice, int, 0)
GIVES(cuCtxGetCurrent, void*, (void*)0x1000)
GIVES(cuCtxCreate_v2, void*, (void*)0x1000)
GIVES(cuDevicePrimaryCtxRetain, void*, (void*)0x1000)
GIVES(cuMemAlloc_v2, uint64_t, 0x1000)
GIVES(cuMemAllocAsync, uint64_t, 0x1000)
GIVES(cuStreamCreate, void*, (void*)0x1000)
GIVES(cuEventCreate, void*, (void*)0x1000)
GIVES(cuModuleLoadData, void*, (void*)0x1000)
GIVES(cuModuleLoadDataEx, void*, (void*)0x1000)
GIVES(cuModuleGetFunction, void*, (void*)0x1000)
GIVES(cuGraphInstantiateWithFlags, void*, (void*)0x1000)

int cuDeviceGetAttribute(int* value, int attribute, int device) {
    (void)device;
    *value = attribute == kMajor ? 8 : attribute == kMinor ? 0 : kAnything;
    return 0;
}

int cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
    (void)function;
    *offset = 0;
    *size = 32; // of the benchmark's parameter struct
    return index == 0 ? 0 : 1;
}

SUCCEEDS(cuInit)
SUCCEEDS(cuGetErrorName)
SUCCEEDS(cuGetErrorString)
SUCCEEDS(cuDeviceGetName)
SUCCEEDS(cuDevicePrimaryCtxRelease_v2)
SUCCEEDS(cuCtxSetCurrent)
SUCCEEDS(cuCtxSynchronize)
SUCCEEDS(cuCtxDestroy_v2)
SUCCEEDS(cuMemGetInfo_v2)
SUCCEEDS(cuMemFree_v2)
SUCCEEDS(cuMemFreeAsync)
SUCCEEDS(cuMemHostAlloc)
SUCCEEDS(cuMemFreeHost)
SUCCEEDS(cuMemcpyHtoDAsync_v2)
SUCCEEDS(cuMemcpyDtoHAsync_v2)
SUCCEEDS(cuMemcpyDtoDAsync_v2)
SUCCEEDS(cuMemsetD8Async)
SUCCEEDS(cuMemsetD32Async)
SUCCEEDS(cuStreamDestroy_v2)
SUCCEEDS(cuStreamSynchronize)
SUCCEEDS(cuStreamQuery)
SUCCEEDS(cuStreamWaitEvent)
SUCCEEDS(cuStreamBeginCapture_v2)
SUCCEEDS(cuStreamEndCapture)
SUCCEEDS(cuGraphLaunch)
SUCCEEDS(cuGraphDestroy)
SUCCEEDS(cuGraphExecDestroy)
SUCCEEDS(cuEventDestroy_v2)
SUCCEEDS(cuEventRecord)
SUCCEEDS(cuEventQuery)
SUCCEEDS(cuEventSynchronize)
SUCCEEDS(cuEventElapsedTime)
SUCCEEDS(cuModuleUnload)
SUCCEEDS(cuFuncSetAttribute)
SUCCEEDS(cuLaunchKernel)
SUCCEEDS(cuLaunchKernelEx)
