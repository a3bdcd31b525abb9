// Blocks of one launch that wait for each other: turns, and results that one block makes visible to others.
//
// A block may wait only for blocks with smaller tickets. Whoever holds a ticket is running, so the smallest unfinished one never waits in
// vain, however few of the blocks fit on the device at once and in whatever order they begin.
//
// Where the last of several blocks goes on with what all of them left, none waits.
//
// Unproved: the PTX forms (st.release, ld.acquire, atom.acq_rel) compile, but have not run on a GPU so far; tests ran their twins on the emulator.
#pragma once
#include "include/base.cuh"

// One thread's call for its block; tickets count from 0 in the order of the calls.
GK_DEVICE u32 take_ticket(u32* counter) { return atomicAdd(counter, 1u); }

// Whoever finds the flag raised sees what this thread wrote before, and what others did that met it at a barrier since.
GK_DEVICE void raise_flag(u32* flag) {
#if defined(GRIFFIN_EMULATOR)
    __atomic_store_n(flag, 1u, __ATOMIC_RELEASE);
#else
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flag), "r"(1u) : "memory");
#endif
}

GK_DEVICE bool is_raised(const u32* flag) {
    u32 value;
#if defined(GRIFFIN_EMULATOR)
    value = __atomic_load_n(flag, __ATOMIC_ACQUIRE);
#else
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
#endif
    return value != 0;
}

GK_DEVICE void await_flag(const u32* flag) {
    while (!is_raised(flag)) __nanosleep(20);
}

// One thread's call for its block: whether it is the last of `count` calls. Whoever it is sees what the other callers wrote before, and what others did that
// met them at a barrier. The counter is zero before the first call and again after the last.
GK_DEVICE bool arrives_last(u32* counter, i32 count) {
    u32 before;
#if defined(GRIFFIN_EMULATOR)
    before = __atomic_fetch_add(counter, 1u, __ATOMIC_ACQ_REL);
#else
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
#endif
    if (before + 1 != static_cast<u32>(count)) return false;
    *counter = 0;
    return true;
}

// The same of a block: all its threads call, and what any of them wrote before is seen by all of the last block.
GK_DEVICE bool block_arrives_last(u32* counter, i32 count) {
    __syncthreads();
    return __syncthreads_or(threadIdx.x == 0 && arrives_last(counter, count)) != 0;
}
