// Checked mode and access counters: what the rest of the emulator calls, and what it must answer.
//
// Device memory of every device of the process lies in one reserved range of addresses (the arena); a linear shadow of it says, byte by
// byte, what was ever written. The shared memory of the running blocks lies in the same range, so a pointer that leaves an array of one
// kind can never land in the other unseen. Instrumented kernels (-fsanitize=thread) call the __tsan_* functions of instrumentation.cpp,
// which look here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// --- answered by the core

namespace emu {
// Ends the running launch: keeps the text as the last fault of its context, makes the context unusable with this CUresult and abandons the
// block. Called on the fibre of the faulting thread, or inside a step.
[[noreturn]] void raise_fault(int result, const char* text);
}

namespace check {

constexpr int kIllegalAddress = 700;
constexpr int kMisalignedAddress = 716;
constexpr int kLaunchFailed = 719;

// --- device memory, of checked and unchecked devices alike (arena.cpp)

struct Allocation {
    std::uint64_t address;
    std::uint64_t bytes;
    int device;
    bool checked;
};

// A new allocation aligned to 256 bytes (on a checked device never to more, so that nobody relies on more), or 0 when memory is short.
// Checked: bytes read 0xFF until they are written, pages cost nothing until touched, and addresses are not used again while fresh ones are
// left. Guard zones lie on both sides.
std::uint64_t allocate(std::uint64_t bytes, int device, bool checked);
// Ends an allocation; false when none starts at the address. The caller has waited for the work that uses it.
bool release(std::uint64_t address);
// The live allocation that holds the address.
bool find_allocation(std::uint64_t address, Allocation* found);

// --- accesses by the host side: copies, fills, the cuBLAS look-alike (host_access.cpp). Rows lie `stride` bytes apart.

// False, with the text of the fault, unless the rows lie in one live allocation of the device. what: "cuMemcpyHtoDAsync destination".
bool check_rows(int device, std::uint64_t address, std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t stride, const char* what,
                std::string* text);
// The same, and every byte must have been written: for operands that are computed with (products). A plain copy may move what nobody wrote.
bool check_rows_initialised(int device, std::uint64_t address, std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t stride,
                            const char* what, std::string* text);
// Nothing happens for memory of unchecked devices and for host memory.
void mark_initialised(std::uint64_t address, std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t stride);
// A copy within device memory takes along which bytes were written.
void copy_initialised(std::uint64_t destination, std::uint64_t source, std::uint64_t bytes);

// --- launches (hooks.cpp)

struct Dim3 { std::uint32_t x, y, z; };

// Memory that kernels may still be writing when a kernel begins that was launched with programmatic stream serialisation: what they wrote since the
// stream last waited for all of its work. (dependent_launch.cpp)
struct PendingWrites {
    std::vector<std::uint64_t> allocations;   // by address
    bool everything = false;                  // work whose stores are not known was among them

    void add(const PendingWrites& other);
    void add(std::uint64_t address);
};

struct LaunchInfo {
    const char* kernel;      // the name expression; must outlive the launch
    int device;
    Dim3 grid, block;
    std::uint32_t dynamic_shared_bytes;
    bool checked;
    bool count;              // the device counts accesses
    const PendingWrites* pending;   // of a dependent launch: until a thread waits, it may write nothing and read none of this; else null
    PendingWrites* written;         // gets what the kernel wrote to; null where nobody asks
};

class Launch;
struct Worker;
// Before the first block. The result goes into every worker that runs blocks of it.
Launch* begin_launch(const LaunchInfo& info);
// After the last block, or after a fault (completed = false: no record is kept). Frees the launch.
void end_launch(Launch* launch, bool completed);
// Whether it was a dependent launch of which no thread waited.
bool never_waited(const Launch* launch);
// The running thread waits for the kernels before its own.
void dependency_wait(Worker* worker);

// What an operating-system thread that runs blocks knows: one per thread, kept by the core.
constexpr int kSharedArenaBytes = 256 * 1024;   // enough for 227 KB of dynamic memory, the static arrays and the guard zones
constexpr int kSharedGuardBytes = 64;           // between two arrays, before the first and after the last
Worker* create_worker();
void destroy_worker(Worker* worker);
// The calling thread runs blocks with this worker from now on (null: none, accesses are not looked at).
void use_worker(Worker* worker);
// Where the worker's blocks keep their shared memory.
unsigned char* shared_arena(Worker* worker);
// Host memory that kernels may use: pinned or registered. Any other access outside device and shared memory, the running fibre's stack and
// loaded libraries (a module's constants) is a fault.
void allow_plain_range(const void* begin, std::uint64_t bytes);
void forget_plain_range(const void* begin);

void begin_block(Worker* worker, Launch* launch, Dim3 block_index);
// An array of shared memory of the running block; all else in the worker's arena is guard zone. The same place again is ignored.
void add_shared_array(Worker* worker, const void* address, std::uint32_t bytes, const char* name);
void end_block(Worker* worker);

// The emulated thread that runs now: its linear index in the block.
void set_thread(Worker* worker, std::uint32_t thread);
// All threads of the block have met at a barrier.
void barrier_passed(Worker* worker);
// Lanes of a warp have met; orders_memory: what they did before is seen by all of them after.
void warp_met(Worker* worker, std::uint32_t warp, std::uint32_t mask, bool orders_memory);
// Around a step that one thread runs for its warp or its block: its own accesses are checked, but not counted.
void begin_step(Worker* worker);
void end_step(Worker* worker, bool whole_block);
// Within a step, an access on behalf of a thread (linear index in the block).
void note_access(std::uint32_t thread, const void* address, std::uint32_t bytes, bool write, const void* site);
// A copy to shared memory that lands only at the wait: until async_landed, touching the destination is a fault. The source is checked as a
// read by the running thread.
void async_issued(void* destination, const void* source, std::uint32_t bytes, std::uint32_t valid_bytes, const void* site);
void async_landed(Worker* worker, std::uint32_t thread, void* destination, std::uint32_t bytes);
// The same for bulk copies, whose sources are checked row by row (`bulk_source`) and which land through the async proxy.
void bulk_issued(void* destination, std::uint32_t bytes, const void* site);
void bulk_source(const void* source, std::uint32_t bytes, const void* site);
void bulk_landed(Worker* worker, std::uint32_t thread, void* destination, std::uint32_t bytes);
// A product of a warpgroup reads as one reader of its own, who has seen what all of the warpgroup's threads (from `first` on) had seen when they began it.
void product_begins(Worker* worker, std::uint32_t first, std::uint32_t threads);
// The read of one of its threads, through the async proxy.
void product_read(Worker* worker, std::uint32_t first, std::uint32_t thread, const void* address, std::uint32_t bytes, const void* site);
// The thread has waited: the reads so far lie behind it.
void product_waited(Worker* worker, std::uint32_t first, std::uint32_t thread);
// The thread's own writes so far may be read through the async proxy.
void proxy_fenced(Worker* worker, std::uint32_t thread);
// Order by objects that not all threads meet at (named barriers, mbarriers). What a thread did before it released one is seen by those
// who acquire it after a phase of it was completed.
void released(Worker* worker, std::uint64_t object, std::uint32_t thread);
void phase_completed(Worker* worker, std::uint64_t object);
void acquired(Worker* worker, std::uint64_t object, std::uint32_t thread);
// All threads of the block have come to a barrier of its cluster.
void cluster_arrived(Worker* worker);
// A read by the running thread of another block's shared memory, `offset` bytes into its arena: in an array, written, and before that block came
// to the last barrier of the cluster that this one has passed.
void cluster_read(Worker* worker, Worker* other, std::uint64_t offset, std::uint32_t bytes, const void* site);
void count_matrix_ops(std::uint64_t multiply_adds);

// --- texts (report.cpp). A site is a return address in a kernel's module, or null.

// "kernel rms_norm<bf16, 256>, block (3, 0, 0), thread (17, 0, 0), rms_norm.cu:42" of the running thread.
std::string where(const void* site);
// "rms_norm.cu:42 (load_vec, vec.cuh:20)" from the module's line table, or an empty text. The module's file must be readable under the name
// that dladdr gives.
std::string source_line(const void* site);
// Forgets the lines it knows: a module was unloaded and its addresses may come again.
void forget_source_lines();

} // namespace check
