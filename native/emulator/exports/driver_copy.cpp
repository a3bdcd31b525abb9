// Copies and fills.
#include "check/hooks.h"
#include "core/pinned_memory.h"
#include "core/stream.h"

#include <cstring>

using namespace emu;

namespace {

// Bounds and lifetime of the device side of a copy at the moment it runs.
CUresult verify(Context& context, CUdeviceptr address, size_t bytes, const char* what) {
    if (is_pinned(reinterpret_cast<void*>(address), bytes)) return CUDA_SUCCESS;
    std::string text;
    if (check::check_rows(context.device.ordinal, address, 1, bytes, bytes, what, &text)) return CUDA_SUCCESS;
    context.fail(CUDA_ERROR_ILLEGAL_ADDRESS, text);
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

CUresult run_to_device(Context& context, CUdeviceptr destination, const void* source, size_t bytes, const char* name) {
    CUresult result = verify(context, destination, bytes, name);
    if (result != CUDA_SUCCESS) return result;
    memcpy(reinterpret_cast<void*>(destination), source, bytes);
    check::mark_initialised(destination, 1, bytes, bytes);
    return CUDA_SUCCESS;
}

CUresult run_to_host(Context& context, void* destination, CUdeviceptr source, size_t bytes, const char* name) {
    CUresult result = verify(context, source, bytes, name);
    if (result == CUDA_SUCCESS) memcpy(destination, reinterpret_cast<void*>(source), bytes);
    return result;
}

CUresult run_on_device(Context& context, CUdeviceptr destination, CUdeviceptr source, size_t bytes, const char* name) {
    CUresult result = verify(context, source, bytes, name);
    if (result == CUDA_SUCCESS) result = verify(context, destination, bytes, name);
    if (result != CUDA_SUCCESS) return result;
    memmove(reinterpret_cast<void*>(destination), reinterpret_cast<void*>(source), bytes);
    check::copy_initialised(destination, source, bytes);
    return CUDA_SUCCESS;
}

template <class T> CUresult run_fill(Context& context, CUdeviceptr destination, T value, size_t count, const char* name) {
    CUresult result = verify(context, destination, count * sizeof(T), name);
    if (result != CUDA_SUCCESS) return result;
    auto* items = reinterpret_cast<T*>(destination);
    for (size_t i = 0; i < count; ++i) items[i] = value;
    check::mark_initialised(destination, 1, count * sizeof(T), count * sizeof(T));
    return CUDA_SUCCESS;
}

enum class Return { AtOnce, WhenDone };

// Submits a body of the form CUresult(Context&) to a stream.
template <class Body> CUresult enqueue_copy(CUstream handle, size_t bytes, Return when, Body body) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (bytes == 0) return CUDA_SUCCESS;
    const bool captured = stream->capture != nullptr;
    if (when == Return::WhenDone && !captured) {
        if (CUresult forbidden = forbid_unsafe_call(call.context()); forbidden != CUDA_SUCCESS) return forbidden;
    }
    Context* context = &call.context();
    CUresult result = submit(*stream, [context, body] {
        if (context->pending) *context->pending = {};
        return body(*context);
    });
    return result == CUDA_SUCCESS && when == Return::WhenDone && !captured ? drain(*stream) : result;
}

template <class T> CUresult fill(CUstream handle, CUdeviceptr destination, T value, size_t count, Return when, const char* name) {
    if (destination % sizeof(T) != 0) return CUDA_ERROR_INVALID_VALUE;
    return enqueue_copy(handle, count, when, [=](Context& context) { return run_fill(context, destination, value, count, name); });
}

CUresult to_device(CUstream stream, CUdeviceptr destination, const void* source, size_t bytes, Return when, const char* name) {
    if (bytes != 0 && !source) return CUDA_ERROR_INVALID_VALUE;
    return enqueue_copy(stream, bytes, when, [=](Context& context) { return run_to_device(context, destination, source, bytes, name); });
}

CUresult to_host(CUstream stream, void* destination, CUdeviceptr source, size_t bytes, Return when, const char* name) {
    if (bytes != 0 && !destination) return CUDA_ERROR_INVALID_VALUE;
    return enqueue_copy(stream, bytes, when, [=](Context& context) { return run_to_host(context, destination, source, bytes, name); });
}

CUresult on_device(CUstream stream, CUdeviceptr destination, CUdeviceptr source, size_t bytes, Return when, const char* name) {
    return enqueue_copy(stream, bytes, when, [=](Context& context) { return run_on_device(context, destination, source, bytes, name); });
}

} // namespace

GRIFFIN_EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr destination, const void* source, size_t bytes) {
    return to_device(nullptr, destination, source, bytes, Return::WhenDone, "cuMemcpyHtoD destination");
}

GRIFFIN_EXPORT CUresult cuMemcpyDtoH_v2(void* destination, CUdeviceptr source, size_t bytes) {
    return to_host(nullptr, destination, source, bytes, Return::WhenDone, "cuMemcpyDtoH source");
}

GRIFFIN_EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr destination, CUdeviceptr source, size_t bytes) {
    return on_device(nullptr, destination, source, bytes, Return::AtOnce, "cuMemcpyDtoD operand");
}

GRIFFIN_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void* source, size_t bytes, CUstream stream) {
    return to_device(stream, destination, source, bytes, Return::AtOnce, "cuMemcpyHtoDAsync destination");
}

// A copy to pageable memory has ended when the call returns.
GRIFFIN_EXPORT CUresult cuMemcpyDtoHAsync_v2(void* destination, CUdeviceptr source, size_t bytes, CUstream stream) {
    Return when = is_pinned(destination, bytes) ? Return::AtOnce : Return::WhenDone;
    return to_host(stream, destination, source, bytes, when, "cuMemcpyDtoHAsync source");
}

GRIFFIN_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream stream) {
    return on_device(stream, destination, source, bytes, Return::AtOnce, "cuMemcpyDtoDAsync operand");
}

GRIFFIN_EXPORT CUresult cuMemsetD8_v2(CUdeviceptr destination, unsigned char value, size_t count) {
    return fill(nullptr, destination, value, count, Return::AtOnce, "cuMemsetD8 destination");
}

GRIFFIN_EXPORT CUresult cuMemsetD16_v2(CUdeviceptr destination, unsigned short value, size_t count) {
    return fill(nullptr, destination, value, count, Return::AtOnce, "cuMemsetD16 destination");
}

GRIFFIN_EXPORT CUresult cuMemsetD32_v2(CUdeviceptr destination, unsigned value, size_t count) {
    return fill(nullptr, destination, value, count, Return::AtOnce, "cuMemsetD32 destination");
}

GRIFFIN_EXPORT CUresult cuMemsetD8Async(CUdeviceptr destination, unsigned char value, size_t count, CUstream stream) {
    return fill(stream, destination, value, count, Return::AtOnce, "cuMemsetD8Async destination");
}

GRIFFIN_EXPORT CUresult cuMemsetD16Async(CUdeviceptr destination, unsigned short value, size_t count, CUstream stream) {
    return fill(stream, destination, value, count, Return::AtOnce, "cuMemsetD16Async destination");
}

GRIFFIN_EXPORT CUresult cuMemsetD32Async(CUdeviceptr destination, unsigned value, size_t count, CUstream stream) {
    return fill(stream, destination, value, count, Return::AtOnce, "cuMemsetD32Async destination");
}
