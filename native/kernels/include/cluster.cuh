// Clusters (sm_90): blocks that run at the same time, near each other, and read each other's shared memory. A kernel's cluster is
// __cluster_dims__(n): n neighbouring blocks in x, of which the grid holds a whole number.
//
// What a block wrote is there for others after the next cluster_sync, and stays while they have not come to the one after it: a block whose
// memory may still be read does not end. Checked kernels on the emulator see reads of what nobody wrote, of what was written since, and of
// blocks that have ended.
//
// Unproved: the PTX forms compile for sm_90, but have not run on a GPU so far; tests ran their twins on the emulator.
#pragma once
#include "include/base.cuh"

// This block's number in its cluster.
GK_DEVICE i32 cluster_rank() {
    u32 rank;
#if defined(GRIFFIN_EMULATOR)
    rank = emu_cluster_rank();
#else
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return static_cast<i32>(rank);
}

// A barrier of all threads of all blocks of the cluster that have not ended.
GK_DEVICE void cluster_sync() {
#if defined(GRIFFIN_EMULATOR)
    emu_cluster_sync();
#else
    // It releases and acquires without saying so; CUDA 11.8 does not know the words.
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
#endif
}

#if !defined(GRIFFIN_EMULATOR)
// Where block `rank` of the cluster has what this block has at `own`.
GK_DEVICE u32 cluster_address(const void* own, i32 rank) {
    u32 address;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(static_cast<u32>(__cvta_generic_to_shared(own))), "r"(rank));
    return address;
}
#endif

GK_DEVICE u32 cluster_load(const u32* own, i32 rank) {
    u32 value;
#if defined(GRIFFIN_EMULATOR)
    emu_cluster_read(own, static_cast<u32>(rank), &value, sizeof(value));
#else
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(cluster_address(own, rank)) : "memory");
#endif
    return value;
}

GK_DEVICE void cluster_load(const f32* own, i32 rank, f32 (&to)[2]) {
#if defined(GRIFFIN_EMULATOR)
    emu_cluster_read(own, static_cast<u32>(rank), to, sizeof(to));
#else
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "r"(cluster_address(own, rank)) : "memory");
#endif
}
