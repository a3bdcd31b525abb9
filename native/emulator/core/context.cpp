#include "core/context.h"

#include "check/hooks.h"
#include "core/graph.h"
#include "core/module.h"
#include "core/stream.h"

#include <algorithm>
#include <deque>

namespace emu {

namespace {

std::mutex devices_mutex;
std::deque<Device> devices;
std::unordered_set<Context*> live_contexts;
bool initialised = false;
thread_local std::vector<Context*> context_stack;

constexpr int64_t kDefaultMemory = int64_t{64} << 30;

DeviceLimits limits_of(int major, int minor) {
    if (major == 8 && minor != 0) return {84, 1536, 16, 102400, 101376};
    if (major == 9) return {132, 2048, 32, 233472, 232448};
    return {108, 2048, 32, 167936, 166912};
}

// Caller holds devices_mutex.
int append_device(const GriffinEmuDeviceConfig& config) {
    Device& device = devices.emplace_back();
    device.ordinal = static_cast<int>(devices.size()) - 1;
    device.config = config;
    device.limits = limits_of(config.compute_major, config.compute_minor);
    device.memory_bytes = static_cast<uint64_t>(config.memory_bytes > 0 ? config.memory_bytes : kDefaultMemory);
    return device.ordinal;
}

void ensure_first_device() {
    if (devices.empty()) append_device({8, 0, 0, 0, 0, 0, 0});
}

} // namespace

std::string Device::name() const {
    std::string text = "Griffin emulator (sm_" + std::to_string(config.compute_major) + std::to_string(config.compute_minor);
    return text + (checked() ? ", checked)" : ")");
}

int device_count() {
    std::lock_guard<std::mutex> lock(devices_mutex);
    ensure_first_device();
    return static_cast<int>(devices.size());
}

Device* find_device(int ordinal) {
    std::lock_guard<std::mutex> lock(devices_mutex);
    ensure_first_device();
    return ordinal >= 0 && ordinal < static_cast<int>(devices.size()) ? &devices[static_cast<size_t>(ordinal)] : nullptr;
}

int add_device(const GriffinEmuDeviceConfig& config) {
    std::lock_guard<std::mutex> lock(devices_mutex);
    ensure_first_device();
    return append_device(config);
}

bool driver_initialised() {
    std::lock_guard<std::mutex> lock(devices_mutex);
    return initialised;
}

void initialise_driver() {
    std::lock_guard<std::mutex> lock(devices_mutex);
    initialised = true;
}

Context::Context(Device& owner) : device(owner), random(owner.config.seed), null_stream(new Stream(*this, 0, 0)) {}

Context::~Context() { reset(); }

void Context::reset() {
    null_stream.reset(new Stream(*this, 0, 0));
    for (Stream* stream : streams) delete stream;
    for (Event* event : events) delete event;
    for (Module* module : modules) delete module;
    for (Graph* graph : graphs) delete graph;
    for (GraphExec* exec : graph_execs) delete exec;
    streams.clear();
    streams_in_order.clear();
    events.clear();
    modules.clear();
    graphs.clear();
    graph_execs.clear();
    captures.clear();
    kernels.clear();
    uint64_t freed = 0;
    for (const auto& [address, bytes] : allocations) {
        check::release(address);
        freed += bytes;
    }
    allocations.clear();
    {
        std::lock_guard<std::mutex> lock(device.mutex);
        device.memory_used -= freed;
    }
    sticky = CUDA_SUCCESS;
    fault_text.clear();
}

Context* current_context() { return context_stack.empty() ? nullptr : context_stack.back(); }

void set_current_context(Context* context) {
    if (!context) {
        if (!context_stack.empty()) context_stack.pop_back();
    } else if (context_stack.empty()) {
        context_stack.push_back(context);
    } else {
        context_stack.back() = context;
    }
}

void push_context(Context* context) { context_stack.push_back(context); }

Context* pop_context() {
    if (context_stack.empty()) return nullptr;
    Context* context = context_stack.back();
    context_stack.pop_back();
    return context;
}

bool context_exists(Context* context) {
    std::lock_guard<std::mutex> lock(devices_mutex);
    return live_contexts.count(context) != 0;
}

void context_created(Context* context) {
    std::lock_guard<std::mutex> lock(devices_mutex);
    live_contexts.insert(context);
}

void context_destroyed(Context* context) {
    std::lock_guard<std::mutex> lock(devices_mutex);
    live_contexts.erase(context);
}

Call::Call(Context* context) : _context(context), _error(CUDA_SUCCESS) {
    if (!driver_initialised()) _error = CUDA_ERROR_NOT_INITIALIZED;
    else if (!context) _error = CUDA_ERROR_INVALID_CONTEXT;
    if (_error != CUDA_SUCCESS) return;
    _lock = std::unique_lock<std::recursive_mutex>(context->mutex);
    _error = context->sticky;
}

} // namespace emu
