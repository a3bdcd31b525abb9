// Programmatic dependent launch (sm_90 and newer): a kernel that was launched with the attribute may begin while the kernels before it still run.
//
//   launch_dependents   says that the next kernel may begin; it does once every block has said so or has ended. Said first thing: its blocks then take
//                       the room that this kernel's last wave leaves, and their first loads are under way while this kernel ends.
//   dependency_wait     returns when the kernel before has ended and what it wrote can be seen. That kernel waited too, so everything before it has
//                       ended as well: a chain is safe if every kernel in it waits.
//
// Before it waits a thread may read only what no kernel writes that may still run (weights), and may write nothing but shared memory. On the emulator
// checked devices hold every thread to that. Kernels launched without the attribute find nothing to wait for. Below sm_90 both are nothing.
//
// Unproved: the PTX forms compile, but have not run on a GPU so far.
#pragma once
#include "include/base.cuh"

GK_DEVICE void launch_dependents() {
#if !defined(GRIFFIN_EMULATOR) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

GK_DEVICE void dependency_wait() {
#if defined(GRIFFIN_CHECKED)
    emu::dependency_wait();
#elif !defined(GRIFFIN_EMULATOR) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// For kernels that have nothing to read ahead of their dependency.
GK_DEVICE void begin_dependent() {
    launch_dependents();
    dependency_wait();
}
