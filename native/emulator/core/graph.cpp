#include "core/graph.h"

#include "core/stream.h"

#include <algorithm>

namespace emu {

namespace {

thread_local CaptureMode thread_mode = CaptureMode::Global;

void leave(Capture& capture, Stream& stream) {
    stream.capture = nullptr;
    stream.capture_tail.clear();
    capture.streams.erase(std::find(capture.streams.begin(), capture.streams.end(), &stream));
}

CUresult invalidate(Capture& capture, CUresult why) {
    capture.invalid = true;
    return why;
}

// Whether every node comes before one of the ends.
bool all_joined(const std::vector<GraphNode>& nodes, const std::vector<size_t>& ends) {
    std::vector<bool> reached(nodes.size());
    std::vector<size_t> open = ends;
    while (!open.empty()) {
        size_t node = open.back();
        open.pop_back();
        if (reached[node]) continue;
        reached[node] = true;
        open.insert(open.end(), nodes[node].dependencies.begin(), nodes[node].dependencies.end());
    }
    return std::find(reached.begin(), reached.end(), false) == reached.end();
}

} // namespace

CaptureMode exchange_thread_mode(CaptureMode mode) {
    CaptureMode previous = thread_mode;
    thread_mode = mode;
    return previous;
}

CUresult capture_work(Stream& stream, std::function<CUresult()> body) {
    Capture& capture = *stream.capture;
    if (capture.invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    capture.nodes.push_back({std::move(body), stream.capture_tail});
    stream.capture_tail = {capture.nodes.size() - 1};
    return CUDA_SUCCESS;
}

CUresult capture_wait(Stream& stream, const Event& event) {
    if (!event.captured) return invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    const std::shared_ptr<Capture> capture = event.captured->capture;
    if (capture->streams.empty()) return CUDA_ERROR_CAPTURED_EVENT; // that capture has ended
    if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream.capture && stream.capture != capture) {
        stream.capture->invalid = true;
        return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    if (&stream == stream.context.null_stream.get()) return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    if (!stream.capture) {
        stream.capture = capture;
        capture->streams.push_back(&stream);
    }
    for (size_t node : event.captured->nodes)
        if (std::find(stream.capture_tail.begin(), stream.capture_tail.end(), node) == stream.capture_tail.end())
            stream.capture_tail.push_back(node);
    return CUDA_SUCCESS;
}

CUresult begin_capture(Stream& stream, CaptureMode mode) {
    Context& context = stream.context;
    if (&stream == context.null_stream.get()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream.capture) return CUDA_ERROR_ILLEGAL_STATE;
    auto capture = std::make_shared<Capture>();
    capture->origin = &stream;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->streams = {&stream};
    stream.capture = capture;
    context.captures.push_back(capture);
    return CUDA_SUCCESS;
}

CUresult end_capture(Stream& stream, CUgraph* graph) {
    *graph = nullptr;
    if (!stream.capture) return CUDA_ERROR_ILLEGAL_STATE;
    const std::shared_ptr<Capture> capture = stream.capture;
    if (capture->origin != &stream) return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (capture->mode != CaptureMode::Relaxed && capture->thread != std::this_thread::get_id())
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    CUresult result = CUDA_SUCCESS;
    if (capture->invalid) result = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    else if (!all_joined(capture->nodes, stream.capture_tail)) result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    while (!capture->streams.empty()) leave(*capture, *capture->streams.back());
    auto& captures = stream.context.captures;
    captures.erase(std::find(captures.begin(), captures.end(), capture));
    if (result != CUDA_SUCCESS) return result;
    *graph = new Graph{std::move(capture->nodes)};
    stream.context.graphs.insert(*graph);
    return CUDA_SUCCESS;
}

CUresult forbid_unsafe_call(Context& context) {
    CUresult result = CUDA_SUCCESS;
    for (const auto& capture : context.captures) {
        bool own = capture->thread == std::this_thread::get_id();
        bool forbids = capture->mode != CaptureMode::Relaxed && own && thread_mode != CaptureMode::Relaxed;
        if (capture->mode == CaptureMode::Global && thread_mode == CaptureMode::Global) forbids = true;
        if (forbids) result = invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    return result;
}

CUresult forbid_waiting(Stream& stream) {
    return stream.capture ? invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) : CUDA_SUCCESS;
}

CUresult forbid_legacy_work(Context& context) {
    CUresult result = CUDA_SUCCESS;
    for (const auto& capture : context.captures)
        for (const Stream* stream : capture->streams)
            if (!(stream->flags & Stream::kNonBlocking)) result = invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    return result;
}

CUresult run_graph(Context& context, const std::vector<GraphNode>& nodes) {
    if (!context.device.checked()) {
        for (const GraphNode& node : nodes)
            if (CUresult result = node.body ? node.body() : CUDA_SUCCESS; result != CUDA_SUCCESS) return result;
        return CUDA_SUCCESS;
    }
    // A graph begins when all work before it has ended, and what comes after it begins when it has.
    check::PendingWrites* const around = context.pending;
    *around = {};
    std::vector<check::PendingWrites> pending(nodes.size());
    std::vector<size_t> waiting_for(nodes.size()), ready;
    std::vector<std::vector<size_t>> followers(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
        waiting_for[i] = nodes[i].dependencies.size();
        for (size_t dependency : nodes[i].dependencies) followers[dependency].push_back(i);
        if (waiting_for[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
        size_t pick = context.random.below(ready.size());
        size_t node = ready[pick];
        ready.erase(ready.begin() + static_cast<long>(pick));
        for (size_t dependency : nodes[node].dependencies) pending[node].add(pending[dependency]);
        if (nodes[node].body) {
            context.pending = &pending[node];
            CUresult result = nodes[node].body();
            context.pending = around;
            if (result != CUDA_SUCCESS) return result;
        }
        for (size_t follower : followers[node])
            if (--waiting_for[follower] == 0) ready.push_back(follower);
    }
    return CUDA_SUCCESS;
}

} // namespace emu
