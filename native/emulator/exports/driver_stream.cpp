// Streams and events.
#include "core/stream.h"

#include <algorithm>
#include <chrono>

using namespace emu;

namespace {

double now_in_milliseconds() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr unsigned kDisableTiming = 2;

} // namespace

GRIFFIN_EXPORT CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int priority) {
    GRIFFIN_ENTER(call);
    if (!stream || flags > Stream::kNonBlocking) return CUDA_ERROR_INVALID_VALUE;
    *stream = new Stream(call.context(), flags, priority);
    call->streams.insert(*stream);
    call->streams_in_order.push_back(*stream);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuStreamCreate(CUstream* stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

GRIFFIN_EXPORT CUresult cuStreamDestroy_v2(CUstream handle) {
    GRIFFIN_ENTER(call);
    if (!call->streams.count(handle)) return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult forbidden = forbid_waiting(*handle); forbidden != CUDA_SUCCESS) return forbidden;
    CUresult result = drain(*handle);
    call->streams.erase(handle);
    auto& order = call->streams_in_order;
    order.erase(std::find(order.begin(), order.end(), handle));
    delete handle;
    return result;
}

GRIFFIN_EXPORT CUresult cuStreamSynchronize(CUstream handle) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult forbidden = forbid_waiting(*stream); forbidden != CUDA_SUCCESS) return forbidden;
    return drain(*stream);
}

GRIFFIN_EXPORT CUresult cuStreamQuery(CUstream handle) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (CUresult forbidden = forbid_waiting(*stream); forbidden != CUDA_SUCCESS) return forbidden;
    if (stream->queue.empty()) return CUDA_SUCCESS;
    make_progress(*stream);
    return call->sticky != CUDA_SUCCESS ? call->sticky : CUDA_ERROR_NOT_READY;
}

GRIFFIN_EXPORT CUresult cuStreamGetFlags(CUstream handle, unsigned* flags) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!flags) return CUDA_ERROR_INVALID_VALUE;
    *flags = stream->flags;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuStreamGetPriority(CUstream handle, int* priority) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!priority) return CUDA_ERROR_INVALID_VALUE;
    *priority = stream->priority;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream || !call->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture || event->captured) return capture_wait(*stream, *event);
    if (!event->recorded) return CUDA_SUCCESS;
    return submit(*stream, nullptr, {event->recorded}, nullptr);
}

GRIFFIN_EXPORT CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void* user_data) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!function) return CUDA_ERROR_INVALID_VALUE;
    return submit(*stream, [function, user_data] {
        function(user_data);
        return CUDA_SUCCESS;
    });
}

GRIFFIN_EXPORT CUresult cuEventCreate(CUevent* event, unsigned flags) {
    GRIFFIN_ENTER(call);
    if (!event) return CUDA_ERROR_INVALID_VALUE;
    *event = new Event{flags, nullptr, nullptr, nullptr};
    call->events.insert(*event);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
    GRIFFIN_ENTER(call);
    if (!call->events.erase(event)) return CUDA_ERROR_INVALID_HANDLE;
    delete event;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuEventRecord(CUevent event, CUstream handle) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream || !call->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) {
        if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        event->captured.reset(new CapturedEvent{stream->capture, stream->capture_tail});
        return CUDA_SUCCESS;
    }
    event->captured = nullptr;
    auto time = std::make_shared<double>(0.0);
    event->time = time;
    return submit(*stream, [time] {
        *time = now_in_milliseconds();
        return CUDA_SUCCESS;
    }, {}, &event->recorded);
}

GRIFFIN_EXPORT CUresult cuEventQuery(CUevent event) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!call->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
    if (!event->recorded || event->recorded->done) return CUDA_SUCCESS;
    make_progress(*event->recorded->stream);
    return call->sticky != CUDA_SUCCESS ? call->sticky : CUDA_ERROR_NOT_READY;
}

GRIFFIN_EXPORT CUresult cuEventSynchronize(CUevent event) {
    GRIFFIN_ENTER_UNSAFE(call);
    if (!call->events.count(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
    return event->recorded ? complete(call.context(), event->recorded) : CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    GRIFFIN_ENTER(call);
    if (!milliseconds) return CUDA_ERROR_INVALID_VALUE;
    if (!call->events.count(start) || !call->events.count(end) || ((start->flags | end->flags) & kDisableTiming) || !start->recorded ||
        !end->recorded)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!start->recorded->done || !end->recorded->done) return CUDA_ERROR_NOT_READY;
    *milliseconds = static_cast<float>(*end->time - *start->time);
    return CUDA_SUCCESS;
}
