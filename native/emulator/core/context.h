// Devices and contexts.
#pragma once

#include "api/cuda_types.h"
#include "core/random.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace check {
struct PendingWrites;
}

namespace emu {

struct Capture;

struct DeviceLimits {
    int multiprocessors, threads_per_multiprocessor, blocks_per_multiprocessor;
    int shared_per_multiprocessor, shared_per_block_opt_in;
};

struct Device {
    int ordinal;
    GriffinEmuDeviceConfig config;
    DeviceLimits limits;
    std::mutex mutex;
    uint64_t memory_bytes, memory_used = 0;
    std::unique_ptr<Context> primary;
    int primary_references = 0;
    unsigned primary_flags = 0;

    bool checked() const { return config.checked != 0; }
    // Runs kernels compiled with --griffin-checked, in memory that the checker watches.
    bool instrumented() const { return config.checked != 0 || config.count_accesses != 0; }
    std::string name() const;
};

// Everything that happens in a context is serialised by its mutex: work runs on the thread that holds it.
struct Context {
    explicit Context(Device& owner);
    ~Context();

    Device& device;
    std::recursive_mutex mutex;
    CUresult sticky = CUDA_SUCCESS;      // after a fault every call returns it
    std::string fault_text;
    Random random;
    std::unordered_map<uint64_t, uint64_t> allocations;
    std::unordered_set<Module*> modules;
    std::unordered_set<Kernel*> kernels;
    std::unordered_set<Stream*> streams;
    std::vector<Stream*> streams_in_order;   // by creation: keeps shuffles reproducible
    std::unordered_set<Event*> events;
    std::unordered_set<Graph*> graphs;
    std::unordered_set<GraphExec*> graph_execs;
    std::unique_ptr<Stream> null_stream;
    std::vector<std::shared_ptr<Capture>> captures;   // under way
    check::PendingWrites* pending = nullptr;          // of the stream or graph node whose work runs now, on a checked device

    void fail(CUresult code, const std::string& text) {
        sticky = code;
        fault_text = text;
    }
    // Frees what the context owns and forgets its fault.
    void reset();
};

int device_count();
Device* find_device(int ordinal);
int add_device(const GriffinEmuDeviceConfig& config);

bool driver_initialised();
void initialise_driver();

// The calling thread's stack of contexts.
Context* current_context();
void set_current_context(Context* context);
void push_context(Context* context);
Context* pop_context();
bool context_exists(Context* context);
void context_created(Context* context);
void context_destroyed(Context* context);

// The prologue of a driver call: the current context, locked; `error` when there is none or it has failed.
class Call {
public:
    Call() : Call(current_context()) {}
    explicit Call(Context* context);
    Context* operator->() const { return _context; }
    Context& context() const { return *_context; }
    CUresult error() const { return _error; }

private:
    Context* _context;
    CUresult _error;
    std::unique_lock<std::recursive_mutex> _lock;
};

} // namespace emu

// Declares `call`, or leaves the function with the error that keeps it from running.
#define GRIFFIN_ENTER(call)                                                     \
    emu::Call call;                                                             \
    if ((call).error() != CUDA_SUCCESS) return (call).error()

// The same for calls that could disturb a stream capture: they fail during one, and invalidate it.
#define GRIFFIN_ENTER_UNSAFE(call)                                              \
    GRIFFIN_ENTER(call);                                                        \
    if (CUresult forbidden = emu::forbid_unsafe_call((call).context()); forbidden != CUDA_SUCCESS) return forbidden
