// Kernel launches.
#include "check/hooks.h"
#include "core/enqueue.h"
#include "core/module.h"
#include "core/stream.h"
#include "executor/worker_pool.h"

#include <cstring>

using namespace emu;

namespace {

struct Geometry { EmuDim grid, block; unsigned dynamic_shared; bool cooperative, dependent; };

// What every chip with clusters takes.
constexpr unsigned kLargestCluster = 8;

CUresult verify(const Context& context, const Kernel& kernel, const Geometry& launch) {
    const EmuDim grid = launch.grid, block = launch.block;
    if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z) return CUDA_ERROR_INVALID_VALUE;
    if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) return CUDA_ERROR_INVALID_VALUE;
    if (block.x > 1024 || block.y > 1024 || block.z > 64) return CUDA_ERROR_INVALID_VALUE;
    const unsigned threads = block.x * block.y * block.z;
    if (threads > 1024) return CUDA_ERROR_INVALID_VALUE;
    if (kernel.entry->max_threads && threads > kernel.entry->max_threads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (launch.dynamic_shared > static_cast<unsigned>(kernel.max_dynamic_shared)) return CUDA_ERROR_INVALID_VALUE;
    if (kernel.entry->cluster_blocks > 1 &&
        (context.device.config.compute_major < 9 || kernel.entry->cluster_blocks > kLargestCluster || grid.x % kernel.entry->cluster_blocks != 0))
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (launch.cooperative) {
        const DeviceLimits& limits = context.device.limits;
        unsigned long long resident = static_cast<unsigned long long>(limits.multiprocessors) *
            (static_cast<unsigned>(limits.threads_per_multiprocessor) / ((threads + 31) / 32 * 32));
        if (static_cast<unsigned long long>(grid.x) * grid.y * grid.z > resident) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    return CUDA_SUCCESS;
}

CUresult run(Context& context, const Kernel& kernel, const Geometry& geometry, void* const* parameters) {
    const Device& device = context.device;
    LaunchRequest request{};
    request.kernel = kernel.entry->expression;
    request.run = kernel.entry->run;
    request.parameters = parameters;
    request.grid = geometry.grid;
    request.block = geometry.block;
    request.shared_slots = &kernel.module->shared_slots;
    request.shared_storage_bytes = kernel.module->shared_storage_bytes;
    request.dynamic_shared_bytes = geometry.dynamic_shared;
    request.device = device.ordinal;
    request.has_warpgroups = device.config.compute_major == 9;
    request.cooperative = geometry.cooperative;
    request.cluster_blocks = kernel.entry->cluster_blocks;
    request.checked = device.checked();
    request.instrumented = device.instrumented();
    request.count_accesses = device.config.count_accesses != 0;
    request.seed = device.checked() ? context.random.next() : 0;
    request.workers = device.config.workers > 0 ? device.config.workers : worker_count();
    // A kernel launched without programmatic stream serialisation begins when all work before it has ended.
    check::PendingWrites before;
    if (context.pending) {
        if (!geometry.dependent) *context.pending = {};
        before = *context.pending;
        request.pending = geometry.dependent ? &before : nullptr;
        request.written = context.pending;
    }
    LaunchFault fault;
    run_launch(request, fault);
    if (!fault.raised.load(std::memory_order_acquire)) return CUDA_SUCCESS;
    context.fail(fault.code, fault.text);
    return fault.code;
}

// The parameters of a launch that runs after the call has returned.
class StoredParameters {
public:
    StoredParameters(const EmuKernelEntry& entry, void* const* parameters) {
        unsigned count = entry.parameter_count, bytes = 0;
        if (count) bytes = entry.parameters[count - 1].offset + entry.parameters[count - 1].bytes;
        _storage.resize(bytes / sizeof(Unit) + 1);
        auto* base = reinterpret_cast<unsigned char*>(_storage.data());
        for (unsigned i = 0; i < count; ++i) {
            _pointers.push_back(base + entry.parameters[i].offset);
            memcpy(_pointers.back(), parameters[i], entry.parameters[i].bytes);
        }
    }
    void* const* pointers() const { return _pointers.data(); }

private:
    struct alignas(64) Unit { unsigned char bytes[64]; };
    std::vector<Unit> _storage;
    std::vector<void*> _pointers;
};

// A parameter that may be aligned to 64 bytes, as one that holds tensor maps is, need not be so where the caller keeps it.
bool aligned(const EmuKernelEntry& entry, void* const* parameters) {
    for (unsigned i = 0; i < entry.parameter_count; ++i)
        if (entry.parameters[i].bytes % 64 == 0 && reinterpret_cast<uintptr_t>(parameters[i]) % 64 != 0) return false;
    return true;
}

// CU_LAUNCH_PARAM_*: the parameters as one packed buffer.
bool unpack_extra(const EmuKernelEntry& entry, void** extra, std::vector<void*>& pointers) {
    unsigned char* buffer = nullptr;
    size_t bytes = 0;
    for (; *extra; extra += 2) {
        auto key = reinterpret_cast<uintptr_t>(extra[0]);
        if (key == 1) buffer = static_cast<unsigned char*>(extra[1]);
        else if (key == 2) bytes = *static_cast<size_t*>(extra[1]);
        else return false;
    }
    unsigned count = entry.parameter_count;
    size_t expected = count ? entry.parameters[count - 1].offset + entry.parameters[count - 1].bytes : 0;
    if (bytes != expected || (expected && !buffer)) return false;
    for (unsigned i = 0; i < count; ++i) pointers.push_back(buffer + entry.parameters[i].offset);
    return true;
}

CUresult launch(CUfunction function, const Geometry& geometry, CUstream handle, void** parameters, void** extra) {
    GRIFFIN_ENTER(call);
    if (!call->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    const EmuKernelEntry& entry = *function->entry;
    std::vector<void*> unpacked;
    if (extra) {
        if (parameters || !unpack_extra(entry, extra, unpacked)) return CUDA_ERROR_INVALID_VALUE;
        parameters = unpacked.data();
    } else if (!parameters && entry.parameter_count) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = verify(call.context(), *function, geometry);
    if (result != CUDA_SUCCESS) return result;
    if (!call->device.checked() && !stream->capture && (stream != call->null_stream.get() || call->captures.empty()))
        return run(call.context(), *function, geometry, aligned(entry, parameters) ? parameters : StoredParameters(entry, parameters).pointers());
    Context* context = &call.context();
    auto stored = std::make_shared<StoredParameters>(entry, parameters);
    return submit(*stream, [context, function, geometry, stored] {
        // A graph may outlive the module of its kernels.
        if (!context->kernels.count(function)) return CUDA_ERROR_INVALID_HANDLE;
        return run(*context, *function, geometry, stored->pointers());
    });
}

// The library call that runs now, for faults that it finds.
struct Executing { Context* context; const char* name; };
thread_local Executing executing;

} // namespace

GRIFFIN_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                                       unsigned block_z, unsigned shared_bytes, CUstream stream, void** parameters, void** extra) {
    return launch(function, {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, false, false}, stream, parameters, extra);
}

GRIFFIN_EXPORT CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                                  unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream, void** parameters) {
    return launch(function, {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, true, false}, stream, parameters, nullptr);
}

GRIFFIN_EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** parameters, void** extra) {
    constexpr int kCooperative = 2, kProgrammaticStreamSerialization = 6;
    if (!config) return CUDA_ERROR_INVALID_VALUE;
    bool cooperative = false, dependent = false;
    for (unsigned i = 0; i < config->attribute_count; ++i) {
        const CUlaunchAttribute& attribute = config->attributes[i];
        if (attribute.id == kCooperative) cooperative = attribute.value.flag != 0;
        if (attribute.id == kProgrammaticStreamSerialization) dependent = attribute.value.flag != 0;
    }
    return launch(function, {{config->grid_x, config->grid_y, config->grid_z}, {config->block_x, config->block_y, config->block_z},
                             config->shared_bytes, cooperative, dependent}, config->stream, parameters, extra);
}

namespace emu {

CUresult enqueue(CUstream handle, const char* name, std::function<void()> work) {
    GRIFFIN_ENTER(call);
    Stream* stream = find_stream(call.context(), handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    Context* context = &call.context();
    return submit(*stream, [context, name, work = std::move(work)] {
        if (context->pending) *context->pending = {{}, true};
        executing = {context, name};
        work();
        executing = {};
        return context->sticky;
    });
}

int current_device() {
    Context* context = current_context();
    return context ? context->device.ordinal : -1;
}

bool current_device_is_checked() {
    Context* context = current_context();
    return context && context->device.checked();
}

void fail_current(CUresult code, const char* text) {
    if (executing.context) executing.context->fail(code, std::string(executing.name) + ": " + text);
}

} // namespace emu
