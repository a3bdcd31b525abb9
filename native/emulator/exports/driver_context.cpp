// Primary and own contexts.
#include "core/context.h"
#include "core/stream.h"

using namespace emu;

GRIFFIN_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    std::lock_guard<std::mutex> lock(device->mutex);
    if (!device->primary) {
        device->primary.reset(new Context(*device));
        context_created(device->primary.get());
    }
    ++device->primary_references;
    *context = device->primary.get();
    return CUDA_SUCCESS;
}

// The object of a primary context stays for the process's life: handles to it never dangle.
GRIFFIN_EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice ordinal) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    Context* context;
    {
        std::lock_guard<std::mutex> lock(device->mutex);
        context = device->primary.get();
    }
    if (!context) return CUDA_SUCCESS;
    std::lock_guard<std::recursive_mutex> lock(context->mutex);
    context->reset();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    {
        std::lock_guard<std::mutex> lock(device->mutex);
        if (device->primary_references == 0) return CUDA_ERROR_INVALID_CONTEXT;
        if (--device->primary_references > 0) return CUDA_SUCCESS;
    }
    return cuDevicePrimaryCtxReset_v2(ordinal);
}

GRIFFIN_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned* flags, int* active) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!flags || !active) return CUDA_ERROR_INVALID_VALUE;
    std::lock_guard<std::mutex> lock(device->mutex);
    *flags = device->primary_flags;
    *active = device->primary_references > 0;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned flags) {
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    std::lock_guard<std::mutex> lock(device->mutex);
    device->primary_flags = flags;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxCreate_v2(CUcontext* context, unsigned, CUdevice ordinal) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    Device* device = find_device(ordinal);
    if (!device) return CUDA_ERROR_INVALID_DEVICE;
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    *context = new Context(*device);
    context_created(*context);
    push_context(*context);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxDestroy_v2(CUcontext context) {
    if (!context || !context_exists(context) || context == context->device.primary.get()) return CUDA_ERROR_INVALID_CONTEXT;
    if (current_context() == context) pop_context();
    context_destroyed(context);
    delete context;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    if (context && !context_exists(context)) return CUDA_ERROR_INVALID_CONTEXT;
    set_current_context(context);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    if (!context) return CUDA_ERROR_INVALID_VALUE;
    *context = current_context();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) {
    if (!driver_initialised()) return CUDA_ERROR_NOT_INITIALIZED;
    if (!context_exists(context)) return CUDA_ERROR_INVALID_CONTEXT;
    push_context(context);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    Context* popped = pop_context();
    if (!popped) return CUDA_ERROR_INVALID_CONTEXT;
    if (context) *context = popped;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
    Context* context = current_context();
    if (!context) return CUDA_ERROR_INVALID_CONTEXT;
    if (!device) return CUDA_ERROR_INVALID_VALUE;
    *device = context->device.ordinal;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuCtxSynchronize() {
    GRIFFIN_ENTER(call);
    // Waiting for a captured stream is illegal in every mode.
    for (const auto& capture : call->captures) capture->invalid = true;
    if (!call->captures.empty()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return drain_all(call.context());
}
