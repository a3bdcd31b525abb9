// Streams, events and the order of work.
#pragma once

#include "check/hooks.h"
#include "core/graph.h"

#include <deque>
#include <functional>
#include <memory>

namespace emu {

// One piece of work in a stream. Work without a body is a marker (an event, a wait).
struct Operation {
    Stream* stream;
    std::function<CUresult()> body;
    std::vector<std::shared_ptr<Operation>> dependencies;
    bool done = false;
};

struct Stream {
    static constexpr unsigned kNonBlocking = 1;

    Stream(Context& owner, unsigned stream_flags, int stream_priority) : context(owner), flags(stream_flags), priority(stream_priority) {}

    Context& context;
    unsigned flags;
    int priority;
    std::deque<std::shared_ptr<Operation>> queue;
    std::shared_ptr<Operation> last;     // null when everything has run
    std::shared_ptr<Capture> capture;    // that the stream is part of
    std::vector<size_t> capture_tail;    // nodes that the next captured work depends on
    check::PendingWrites pending;        // of the kernels that ran since all of its work was last waited for (checked devices)
};

struct Event {
    unsigned flags;
    std::shared_ptr<Operation> recorded; // null before the first record
    std::shared_ptr<double> time;        // milliseconds
    std::unique_ptr<CapturedEvent> captured; // set when the last record was captured
};

// The stream behind a handle (null and the default-stream handles included); null when the handle is not alive in the context.
Stream* find_stream(Context& context, CUstream handle);

// Work in stream order: a graph node in a capture, else at once on an unchecked device and as late as allowed on a checked one.
CUresult submit(Stream& stream, std::function<CUresult()> body);
CUresult submit(Stream& stream, std::function<CUresult()> body, std::vector<std::shared_ptr<Operation>> dependencies,
                std::shared_ptr<Operation>* submitted);

// Runs what the stream, the operation or the whole context holds, together with what must come before it and, by seed, other work.
CUresult drain(Stream& stream);
CUresult complete(Context& context, const std::shared_ptr<Operation>& operation);
CUresult drain_all(Context& context);

// A query makes a little progress, so that a polling loop ends.
void make_progress(Stream& stream);

} // namespace emu
