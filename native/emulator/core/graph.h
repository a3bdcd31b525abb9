// Graphs and the capture of streams into them.
#pragma once

#include "core/context.h"

#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace emu {

struct GraphNode {
    std::function<CUresult()> body;          // empty: joins its dependencies only
    std::vector<size_t> dependencies;        // earlier nodes
};

struct Graph {
    std::vector<GraphNode> nodes;
};

struct GraphExec {
    std::shared_ptr<const std::vector<GraphNode>> nodes;
};

enum class CaptureMode : int { Global = 0, ThreadLocal = 1, Relaxed = 2 };

// One capture sequence, from cuStreamBeginCapture to cuStreamEndCapture.
struct Capture {
    Stream* origin;
    CaptureMode mode;
    std::thread::id thread;
    bool invalid = false;
    std::vector<Stream*> streams;            // the origin and those that joined by an event
    std::vector<GraphNode> nodes;
};

// The state of an event recorded in a capturing stream: the nodes it stands for.
struct CapturedEvent {
    std::shared_ptr<Capture> capture;
    std::vector<size_t> nodes;
};

// Adds work to the capture that the stream is part of.
CUresult capture_work(Stream& stream, std::function<CUresult()> body);

// An event wait in which the stream or the event belongs to a capture.
CUresult capture_wait(Stream& stream, const Event& event);

CUresult begin_capture(Stream& stream, CaptureMode mode);
CUresult end_capture(Stream& stream, CUgraph* graph);

// For calls that could disturb a capture: 0, or the error, having invalidated the captures that forbid the call.
CUresult forbid_unsafe_call(Context& context);
// For calls that would have to wait for a stream that is being captured.
CUresult forbid_waiting(Stream& stream);
// For work in the legacy default stream: illegal while a blocking stream is captured.
CUresult forbid_legacy_work(Context& context);

CaptureMode exchange_thread_mode(CaptureMode mode);

// Runs the nodes in an order that respects the dependencies: as recorded, or (checked) by seed.
CUresult run_graph(Context& context, const std::vector<GraphNode>& nodes);

} // namespace emu
