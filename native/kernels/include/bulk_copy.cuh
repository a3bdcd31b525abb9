// What sm_90 brings for kernels whose warps have different jobs: mbarriers, bulk copies from global to shared memory, barriers of some of the
// warps, and moving registers between warpgroups.
//
// An mbarrier counts its phases: one is complete when the arrivals that `mbarrier_init` named have come, and the bytes that they said to expect.
// Everything before an arrival, and every byte copied, is seen by whoever has waited for that phase.
//
//     if (threadIdx.x == 0) { mbarrier_init(&full, 1); mbarrier_init_fence(); }
//     __syncthreads();
//     if (threadIdx.x == 0) { mbarrier_arrive_expect(&full, bytes); bulk_copy(tile, source, bytes, &full); }
//     mbarrier_wait(&full, 0);              // then parity 1, 0, 1 ...
//
// A tensor copy brings a box of a tensor of 1 to 5 dimensions as a TensorMap describes it, zeros where the box leaves the tensor, rows of the box
// one after another, swizzled as the map says. The map is a kernel parameter: const __grid_constant__, or part of a struct that is.
//
// On the emulator a copy lands when a thread waits for its mbarrier, as late as can be. Its checked kernels see: a read of what has not landed, a
// copy over what others still read, a wait that never ends, a barrier that no fence has made known to the copies.
//
// Unproved: the PTX forms compile for sm_90a, but have not run on a GPU so far; tests ran their twins on the emulator.
#pragma once
#include "include/base.cuh"

// A CUtensorMap, made on the host (TensorMap of the runtime).
struct alignas(64) TensorMap {
    u64 opaque[16];
};

struct Mbarrier {
    u64 state;
};

#if !defined(GRIFFIN_EMULATOR)
GK_DEVICE u32 shared_address(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }
#endif

// By one thread, before the fence and a barrier of all who use it.
GK_DEVICE void mbarrier_init(Mbarrier* barrier, u32 arrivals) {
#if defined(GRIFFIN_EMULATOR)
    barrier->state = arrivals;
    emu_mbarrier_init(barrier, arrivals);
#else
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}

// By the thread that initialised: the copies know its barriers.
GK_DEVICE void mbarrier_init_fence() {
#if defined(GRIFFIN_EMULATOR)
    emu_proxy_fence();
#else
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// Writes of this thread to shared memory so far may be read by copies and products, after a barrier.
GK_DEVICE void shared_proxy_fence() {
#if defined(GRIFFIN_EMULATOR)
    emu_proxy_fence();
#else
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

GK_DEVICE void mbarrier_arrive(Mbarrier* barrier) {
#if defined(GRIFFIN_EMULATOR)
    __atomic_fetch_add(&barrier->state, 0, __ATOMIC_RELAXED);
    emu_mbarrier_arrive(barrier, 0);
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}

// Arrives, and says how many bytes of copies the phase waits for besides.
GK_DEVICE void mbarrier_arrive_expect(Mbarrier* barrier, u32 bytes) {
#if defined(GRIFFIN_EMULATOR)
    __atomic_fetch_add(&barrier->state, 0, __ATOMIC_RELAXED);
    emu_mbarrier_arrive(barrier, bytes);
#else
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
#endif
}

// Until the phase of this parity is complete; the first has parity 0. A wait for parity 1 of a new barrier ends at once.
GK_DEVICE void mbarrier_wait(Mbarrier* barrier, u32 parity) {
#if defined(GRIFFIN_EMULATOR)
    __atomic_fetch_add(&barrier->state, 0, __ATOMIC_RELAXED);
    emu_mbarrier_wait(barrier, parity);
#else
    u32 complete;
    do {
        asm volatile("{\n.reg .pred complete;\nmbarrier.try_wait.parity.shared::cta.b64 complete, [%1], %2;\nselp.u32 %0, 1, 0, complete;\n}"
                     : "=r"(complete)
                     : "r"(shared_address(barrier)), "r"(parity)
                     : "memory");
    } while (complete == 0);
#endif
}

// By one thread. Addresses and size are multiples of 16 bytes.
GK_DEVICE void bulk_copy(void* shared, const void* global, u32 bytes, Mbarrier* barrier) {
#if defined(GRIFFIN_EMULATOR)
    emu_bulk_copy(shared, global, bytes, barrier);
#else
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
#endif
}

// By one thread: the box that begins at these coordinates, innermost first, in elements. The destination is a multiple of 128 bytes, with a
// swizzle of 128 bytes of 1024.
template <typename... Coordinates>
GK_DEVICE void tensor_copy(void* shared, const TensorMap& map, Mbarrier* barrier, Coordinates... coordinates) {
    constexpr i32 RANK = sizeof...(Coordinates);
    static_assert(RANK >= 1 && RANK <= 5, "tensors have one to five dimensions");
    const i32 at[5] = {static_cast<i32>(coordinates)...};
#if defined(GRIFFIN_EMULATOR)
    emu_tensor_copy(shared, &map, at, RANK, barrier);
#else
#define GK_TENSOR_COPY(dimensions, places, ...)                                                                                                   \
    if constexpr (RANK == dimensions)                                                                                                             \
    asm volatile("cp.async.bulk.tensor." #dimensions "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" places "}], [%2];" \
                 ::"r"(shared_address(shared)), "l"(&map), "r"(shared_address(barrier)), __VA_ARGS__                                             \
                 : "memory")
    GK_TENSOR_COPY(1, "%3", "r"(at[0]));
    GK_TENSOR_COPY(2, "%3, %4", "r"(at[0]), "r"(at[1]));
    GK_TENSOR_COPY(3, "%3, %4, %5", "r"(at[0]), "r"(at[1]), "r"(at[2]));
    GK_TENSOR_COPY(4, "%3, %4, %5, %6", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]));
    GK_TENSOR_COPY(5, "%3, %4, %5, %6, %7", "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]));
#undef GK_TENSOR_COPY
#endif
}

// Brings a map near before its first copy.
GK_DEVICE void tensor_map_prefetch([[maybe_unused]] const TensorMap& map) {
#if !defined(GRIFFIN_EMULATOR)
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

// A barrier of so many threads (whole warps), numbered 1 to 15; 0 is __syncthreads's.
GK_DEVICE void named_barrier_sync(i32 number, i32 threads) {
#if defined(GRIFFIN_EMULATOR)
    emu_named_barrier(number, threads, true);
#else
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
#endif
}

// Counts among those threads without waiting for the others.
GK_DEVICE void named_barrier_arrive(i32 number, i32 threads) {
#if defined(GRIFFIN_EMULATOR)
    emu_named_barrier(number, threads, false);
#else
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
#endif
}

// By all warps of a warpgroup: from here on each of its threads has so many registers, given by or to other warpgroups of the block.
template <i32 Registers>
GK_DEVICE void registers_increase() {
    static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256, "registers come in eights");
#if defined(GRIFFIN_EMULATOR)
    emu_set_registers(Registers);
#else
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
#endif
}

template <i32 Registers>
GK_DEVICE void registers_decrease() {
    static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256, "registers come in eights");
#if defined(GRIFFIN_EMULATOR)
    emu_set_registers(Registers);
#else
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
#endif
}
