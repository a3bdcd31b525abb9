// What compiled kernels and the emulator agree on. Force-included into every kernel and included by the executor; uses no other header.
#pragma once

#define GRIFFIN_EMULATOR_ABI 3

extern "C" {

struct EmuDim { unsigned x, y, z; };

struct EmuBlock;

// One CUDA thread. The records of a block form an array in linear order; `index` depends on the block's shape only.
struct alignas(64) EmuThread {
    EmuDim index;              // threadIdx
    unsigned linear;           // position in the block
    void* stack_pointer;       // saved while parked
    void* fibre;               // stack it runs on while parked
    const void* site;          // return address of the rendezvous it waits at
    void* operands;            // posted for a warp step
    unsigned wait;             // what it waits for: EmuWait
    unsigned mask;             // warp rendezvous: participating lanes
};

// The block that an operating-system thread runs at the moment. `next` threads were started so far; the kernel's own loop takes the rest.
struct EmuBlock {
    EmuDim index;              // blockIdx
    EmuDim block_dim;
    EmuDim grid_dim;
    unsigned count;            // threads in the block
    unsigned next;
    unsigned ready;            // parked threads that may go on
    unsigned char* static_shared;
    unsigned char* dynamic_shared;
    EmuThread* threads;
    const unsigned* order;     // start order of the threads (checked builds)
};

// wgmma.mma_async.m64nNk16.f32.bf16.bf16 as one thread of the warpgroup executes it.
struct EmuWarpgroupProduct {
    float* accumulators;             // its columns / 2
    const unsigned* fragment;        // A's four registers, null when A is in shared memory
    unsigned long long a, b;         // matrix descriptors
    unsigned columns;                // N
    bool transposed_a, transposed_b; // M-major, N-major
    bool accumulate;
};

typedef void (*EmuWarpStep)(void* const* lanes, unsigned mask);
typedef void (*EmuBlockStep)(void* const* threads, int count);

#define EMU_ABI_TLS __attribute__((tls_model("initial-exec"), visibility("default")))
#define EMU_ABI __attribute__((visibility("default")))

extern __thread EmuThread* emu_current EMU_ABI_TLS;
extern __thread EmuBlock* emu_block EMU_ABI_TLS;
extern const char emu_abi_identity EMU_ABI;    // its address tells two copies of the emulator apart

// Calls at different lines stay different calls.
#if defined(__clang__)
#define EMU_RENDEZVOUS EMU_ABI __attribute__((convergent, nomerge))
#else
#define EMU_RENDEZVOUS EMU_ABI
#endif

EMU_RENDEZVOUS void emu_block_rendezvous(void* operands, EmuBlockStep step);
EMU_RENDEZVOUS void emu_warp_rendezvous(unsigned mask, void* operands, EmuWarpStep step);
EMU_ABI void emu_async_copy(void* shared_destination, const void* global_source, unsigned bytes, unsigned valid_bytes);
EMU_ABI void emu_async_commit();
EMU_ABI void emu_async_wait(int groups_left);
// Of compute capability 9.0. A shared address counts from the start of the block's window, as matrix descriptors do.
EMU_ABI unsigned long long emu_shared_address(const void* shared);
EMU_RENDEZVOUS void emu_named_barrier(unsigned barrier, unsigned threads, bool wait);
EMU_ABI void emu_mbarrier_init(void* barrier, unsigned arrivals);
EMU_ABI void emu_mbarrier_arrive(void* barrier, unsigned expected_bytes);
EMU_ABI void emu_mbarrier_wait(void* barrier, unsigned parity);
EMU_ABI void emu_bulk_copy(void* shared_destination, const void* global_source, unsigned bytes, void* barrier);
EMU_ABI void emu_tensor_copy(void* shared_destination, const void* tensor_map, const int* coordinates, unsigned rank, void* barrier);
EMU_ABI void emu_proxy_fence();
EMU_ABI void emu_set_registers(unsigned registers);
EMU_ABI void emu_warpgroup_fence();
EMU_RENDEZVOUS void emu_warpgroup_product(const EmuWarpgroupProduct* product);
EMU_ABI void emu_warpgroup_commit();
EMU_ABI void emu_warpgroup_wait(int groups_left);
EMU_ABI unsigned emu_cluster_rank();
EMU_RENDEZVOUS void emu_cluster_sync();
// Reads what lies in another block of the cluster where `own` lies in this one.
EMU_ABI void emu_cluster_read(const void* own, unsigned rank, void* to, unsigned bytes);
EMU_ABI void emu_dependency_wait();                             // checked builds: for the kernels before this one
EMU_ABI void emu_count_matrix_ops(unsigned long long multiply_adds);
EMU_ABI void emu_note_access(int lane, const void* address, unsigned bytes, bool write);
EMU_ABI void emu_thread_started();                              // checked builds: emu_current changed
EMU_ABI void emu_pause();                                       // a thread that waits for other blocks lets them run
EMU_ABI void emu_trap() __attribute__((noreturn));
EMU_ABI void emu_resume_ready() __attribute__((noreturn));      // the running thread ended and others are ready
EMU_ABI void emu_threads_exhausted() __attribute__((noreturn)); // every thread of the block has been started
// `kernel`: name of the kernel whose body holds the declaration, empty for other functions; `function` tells instantiations apart.
EMU_ABI unsigned emu_register_shared(unsigned bytes, unsigned alignment, const char* name, const char* kernel, const char* function);

struct EmuParameter { unsigned offset, bytes; };

struct EmuKernelEntry {
    const char* name;               // lowered name
    const char* expression;         // as the program asked for it: for messages
    const char* function;           // its plain function name
    void (*run)(void* const* parameters);
    const EmuParameter* parameters;
    unsigned parameter_count;
    unsigned max_threads;           // __launch_bounds__, 0 when absent
    unsigned cluster_blocks;        // __cluster_dims__, 1 when absent
};

struct EmuModuleTable {
    unsigned abi;
    unsigned kernel_count;
    const EmuKernelEntry* kernels;
    const char* emulator;           // &emu_abi_identity as this module sees it
};

} // extern "C"
