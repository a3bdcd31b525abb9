// Stream capture and graphs.
#include "core/graph.h"
#include "core/stream.h"

using namespace emu;

namespace {
constexpr int kCaptureActive = 1, kCaptureInvalidated = 2;
}

GRIFFIN_EXPORT CUresult cuStreamBeginCapture_v2(CUstream handle, int mode) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (mode < 0 || mode > 2) return CUDA_ERROR_INVALID_VALUE;
    return begin_capture(*stream, static_cast<CaptureMode>(mode));
}

GRIFFIN_EXPORT CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!graph) return CUDA_ERROR_INVALID_VALUE;
    return end_capture(*stream, graph);
}

GRIFFIN_EXPORT CUresult cuStreamIsCapturing(CUstream handle, int* status) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!status) return CUDA_ERROR_INVALID_VALUE;
    *status = !stream->capture ? 0 : stream->capture->invalid ? kCaptureInvalidated : kCaptureActive;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuThreadExchangeStreamCaptureMode(int* mode) {
    if (!mode || *mode < 0 || *mode > 2) return CUDA_ERROR_INVALID_VALUE;
    *mode = static_cast<int>(exchange_thread_mode(static_cast<CaptureMode>(*mode)));
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
    GRIFFIN_ENTER(call);
    if (!exec) return CUDA_ERROR_INVALID_VALUE;
    if (!call->graphs.count(graph)) return CUDA_ERROR_INVALID_HANDLE;
    *exec = new GraphExec{std::make_shared<const std::vector<GraphNode>>(graph->nodes)};
    call->graph_execs.insert(*exec);
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGraphInstantiate_v2(CUgraphExec* exec, CUgraph graph, void** error_node, char* log, size_t log_bytes) {
    if (error_node) *error_node = nullptr;
    if (log && log_bytes) *log = 0;
    return cuGraphInstantiateWithFlags(exec, graph, 0);
}

GRIFFIN_EXPORT CUresult cuGraphUpload(CUgraphExec exec, CUstream handle) {
    GRIFFIN_ENTER(call);
    return call->graph_execs.count(exec) && find_stream(call.context(), handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

GRIFFIN_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream || !call->graph_execs.count(exec)) return CUDA_ERROR_INVALID_HANDLE;
    Context* context = &call.context();
    return submit(*stream, [context, nodes = exec->nodes] { return run_graph(*context, *nodes); });
}

GRIFFIN_EXPORT CUresult cuGraphGetNodes(CUgraph graph, size_t* nodes, size_t* count) {
    GRIFFIN_ENTER(call);
    if (!call->graphs.count(graph)) return CUDA_ERROR_INVALID_HANDLE;
    if (!count) return CUDA_ERROR_INVALID_VALUE;
    // A node's handle is its number, from 1.
    for (size_t i = 0; nodes && i < *count && i < graph->nodes.size(); ++i) nodes[i] = i + 1;
    *count = graph->nodes.size();
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
    GRIFFIN_ENTER(call);
    if (!call->graphs.erase(graph)) return CUDA_ERROR_INVALID_HANDLE;
    delete graph;
    return CUDA_SUCCESS;
}

GRIFFIN_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
    GRIFFIN_ENTER(call);
    if (!call->graph_execs.erase(exec)) return CUDA_ERROR_INVALID_HANDLE;
    delete exec;
    return CUDA_SUCCESS;
}
