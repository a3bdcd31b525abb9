#include "core/stream.h"

namespace emu {

namespace {

bool runnable(const Stream& stream) {
    if (stream.queue.empty()) return false;
    for (const auto& dependency : stream.queue.front()->dependencies)
        if (!dependency->done) return false;
    return true;
}

// Runs the first operation of the stream; its dependencies are done.
void run_front(Stream& stream) {
    std::shared_ptr<Operation> operation = stream.queue.front();
    stream.queue.pop_front();
    if (stream.queue.empty()) stream.last = nullptr;
    operation->dependencies.clear();
    if (operation->body && stream.context.sticky == CUDA_SUCCESS) {
        stream.context.pending = &stream.pending;
        CUresult result = operation->body();
        stream.context.pending = nullptr;
        if (result != CUDA_SUCCESS && stream.context.sticky == CUDA_SUCCESS) stream.context.fail(result, "asynchronous work failed");
    }
    operation->body = nullptr;
    operation->done = true;
}

// Other streams may run ahead at any time: by seed, some of their work goes first.
void run_bystanders(Context& context, const Stream* busy) {
    while (context.random.below(3) == 0) {
        std::vector<Stream*> candidates;
        if (context.null_stream.get() != busy && runnable(*context.null_stream)) candidates.push_back(context.null_stream.get());
        for (Stream* stream : context.streams_in_order)
            if (stream != busy && runnable(*stream)) candidates.push_back(stream);
        if (candidates.empty()) return;
        run_front(*candidates[context.random.below(candidates.size())]);
    }
}

void advance(Stream& stream) {
    Context& context = stream.context;
    run_bystanders(context, &stream);
    if (stream.queue.empty()) return;
    const std::vector<std::shared_ptr<Operation>> dependencies = stream.queue.front()->dependencies;
    for (const auto& dependency : dependencies) complete(context, dependency);
    if (runnable(stream)) run_front(stream);
}

} // namespace

Stream* find_stream(Context& context, CUstream handle) {
    if (reinterpret_cast<uintptr_t>(handle) <= 2) return context.null_stream.get();
    return context.streams.count(handle) ? handle : nullptr;
}

CUresult submit(Stream& stream, std::function<CUresult()> body) { return submit(stream, std::move(body), {}, nullptr); }

CUresult submit(Stream& stream, std::function<CUresult()> body, std::vector<std::shared_ptr<Operation>> dependencies,
                std::shared_ptr<Operation>* submitted) {
    Context& context = stream.context;
    if (stream.capture) return capture_work(stream, std::move(body));
    if (&stream == context.null_stream.get() && !context.captures.empty()) {
        CUresult forbidden = forbid_legacy_work(context);
        if (forbidden != CUDA_SUCCESS) return forbidden;
    }
    auto operation = std::make_shared<Operation>();
    operation->stream = &stream;
    if (!context.device.checked()) {
        operation->done = true;
        if (submitted) *submitted = operation;
        return body ? body() : CUDA_SUCCESS;
    }
    operation->body = std::move(body);
    operation->dependencies = std::move(dependencies);
    // The legacy default stream waits for every blocking stream, and they for it.
    if (&stream == context.null_stream.get()) {
        for (Stream* other : context.streams)
            if (!(other->flags & Stream::kNonBlocking) && other->last) operation->dependencies.push_back(other->last);
    } else if (!(stream.flags & Stream::kNonBlocking) && context.null_stream->last) {
        operation->dependencies.push_back(context.null_stream->last);
    }
    stream.queue.push_back(operation);
    stream.last = operation;
    if (submitted) *submitted = operation;
    return CUDA_SUCCESS;
}

CUresult drain(Stream& stream) {
    while (!stream.queue.empty()) advance(stream);
    return stream.context.sticky;
}

CUresult complete(Context& context, const std::shared_ptr<Operation>& operation) {
    while (!operation->done) advance(*operation->stream);
    return context.sticky;
}

CUresult drain_all(Context& context) {
    for (;;) {
        std::vector<Stream*> busy;
        if (!context.null_stream->queue.empty()) busy.push_back(context.null_stream.get());
        for (Stream* stream : context.streams_in_order)
            if (!stream->queue.empty()) busy.push_back(stream);
        if (busy.empty()) return context.sticky;
        advance(*busy[context.random.below(busy.size())]);
    }
}

void make_progress(Stream& stream) {
    if (!stream.queue.empty()) advance(stream);
}

} // namespace emu
