// Modules and functions.
#include "core/module.h"
#include "core/stream.h"

#include <cstring>

using namespace emu;

namespace {
constexpr unsigned kSharedWithoutOptIn = 49152;
constexpr unsigned kSharedKeptByDriver = 1024; // per block

int most_dynamic_shared(const Kernel& kernel, const Device& device) {
    return device.limits.shared_per_block_opt_in - static_cast<int>(kernel.shared_bytes);
}
} // namespace

GRIFFIN_EXPORT CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!module || !image) return CUDA_ERROR_INVALID_VALUE;
    CUresult error;
    std::string why;
    std::unique_ptr<Module> loaded = Module::load(image, call->device.instrumented(), error, why);
    for (size_t i = 0; loaded && i < loaded->kernels.size(); ++i) {
        const Kernel& kernel = *loaded->kernels[i];
        if (kernel.shared_bytes <= kSharedWithoutOptIn) continue;
        error = CUDA_ERROR_INVALID_IMAGE;
        why = std::string(kernel.entry->expression) + " declares " + std::to_string(kernel.shared_bytes) +
              " bytes of static shared memory; 49152 is the most";
        loaded = nullptr;
    }
    if (!loaded) {
        call->fault_text = why;
        return error;
    }
    for (const auto& kernel : loaded->kernels) {
        kernel->max_dynamic_shared = static_cast<int>(kSharedWithoutOptIn - kernel->shared_bytes);
        call->kernels.insert(kernel.get());
    }
    call->modules.insert(loaded.get());
    *module = loaded.release();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, const int*, void**) {
    return cuModuleLoadData(module, image);
}

GRIFFIN_EXPORT CUresult cuModuleUnload(CUmodule module) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!call->modules.erase(module)) return CUDA_ERROR_INVALID_HANDLE;
    CUresult result = drain_all(call.context()); // pending launches hold the code
    for (const auto& kernel : module->kernels) call->kernels.erase(kernel.get());
    delete module;
    return result;
}

GRIFFIN_EXPORT CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    GRIFFIN_ENTER(call);
    if (!function || !name) return CUDA_ERROR_INVALID_VALUE;
    if (!call->modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
    for (const auto& kernel : module->kernels) {
        if (strcmp(kernel->entry->name, name) != 0) continue;
        *function = kernel.get();
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

GRIFFIN_EXPORT CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
    GRIFFIN_ENTER(call);
    if (!value) return CUDA_ERROR_INVALID_VALUE;
    if (!call->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    const Device& device = call->device;
    switch (attribute) {
    case 0: *value = function->entry->max_threads ? static_cast<int>(function->entry->max_threads) : 1024; break;
    case 1: *value = static_cast<int>(function->shared_bytes); break;
    case 2: case 3: *value = 0; break;                                                                   // constant and local memory
    case 4: *value = 32; break;                                                                          // registers
    case 5: case 6: *value = device.config.compute_major * 10 + device.config.compute_minor; break;      // PTX and binary version
    case 7: *value = 0; break;                                                                           // cache mode
    case 8: *value = function->max_dynamic_shared; break;
    case 9: *value = function->carveout; break;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    GRIFFIN_ENTER(call);
    if (!call->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    if (attribute == 8) {
        if (value < 0 || value > most_dynamic_shared(*function, call->device)) return CUDA_ERROR_INVALID_VALUE;
        function->max_dynamic_shared = value;
        return CUDA_SUCCESS;
    }
    if (attribute == 9) {
        if (value < -1 || value > 100) return CUDA_ERROR_INVALID_VALUE;
        function->carveout = value;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

GRIFFIN_EXPORT CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t* offset, size_t* bytes) {
    GRIFFIN_ENTER(call);
    if (!call->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    if (!offset || index >= function->entry->parameter_count) return CUDA_ERROR_INVALID_VALUE;
    *offset = function->entry->parameters[index].offset;
    if (bytes) *bytes = function->entry->parameters[index].bytes;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int block_threads,
                                                                    size_t dynamic_bytes) {
    GRIFFIN_ENTER(call);
    if (!blocks || block_threads <= 0) return CUDA_ERROR_INVALID_VALUE;
    if (!call->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    const DeviceLimits& limits = call->device.limits;
    int threads = (block_threads + 31) / 32 * 32;
    int by_threads = block_threads > 1024 ? 0 : limits.threads_per_multiprocessor / threads;
    const size_t shared = function->shared_bytes + dynamic_bytes + kSharedKeptByDriver;
    int by_shared = static_cast<int>(static_cast<size_t>(limits.shared_per_multiprocessor) / shared);
    *blocks = by_threads < by_shared ? by_threads : by_shared;
    if (*blocks > limits.blocks_per_multiprocessor) *blocks = limits.blocks_per_multiprocessor;
    return CUDA_SUCCESS;
}
