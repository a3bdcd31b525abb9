// CUDA's keywords, built-in variables and vector types.
#pragma once

#define GRIFFIN_EMULATOR 1
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 800
#endif

#define __host__
#define __device__
#define __constant__
#define __managed__
#define __grid_constant__
#if defined(GRIFFIN_CHECKED)
#define __global__ __attribute__((noinline, noclone)) // every lane's accesses come from the same call sites
#else
#define __global__ __attribute__((always_inline)) inline
#endif
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __attribute__((aligned(bytes)))

// Reads of the emulator's own records. Checked builds report every access of a kernel except those of inline assembly: these are not the kernel's.
#if defined(GRIFFIN_CHECKED)
template <class T> inline __attribute__((always_inline)) T emu_own(const T& value) {
    T copy;
    asm("mov %1, %0" : "=r"(copy) : "m"(value));
    return copy;
}
inline __attribute__((always_inline)) EmuDim emu_own(const EmuDim& value) { return {emu_own(value.x), emu_own(value.y), emu_own(value.z)}; }
#define EMU_NOT_INSTRUMENTED __attribute__((no_sanitize("thread")))
#else
template <class T> inline __attribute__((always_inline)) const T& emu_own(const T& value) { return value; }
#define EMU_NOT_INSTRUMENTED
#endif

#define threadIdx (emu_own(emu_own(emu_current)->index))
#define blockIdx (emu_own(emu_own(emu_block)->index))
#define blockDim (emu_own(emu_own(emu_block)->block_dim))
#define gridDim (emu_own(emu_own(emu_block)->grid_dim))
#define warpSize 32

namespace emu {
// The thread count of __launch_bounds__(threads, blocks...).
template <class... Rest> constexpr unsigned first_bound(unsigned threads, Rest...) { return threads; }
// The blocks of __cluster_dims__(x, y, z), which must be neighbours in x; else 0.
constexpr unsigned cluster_blocks(unsigned x, unsigned y = 1, unsigned z = 1) { return y == 1 && z == 1 ? x : 0; }
} // namespace emu

using size_t = decltype(sizeof(0));
using ptrdiff_t = decltype((char*)0 - (char*)0);

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define EMU_VECTORS(name, type, align2, align4)                                                                            \
    struct name##1 { type x; };                                                                                            \
    struct alignas(align2) name##2 { type x, y; };                                                                         \
    struct name##3 { type x, y, z; };                                                                                      \
    struct alignas(align4) name##4 { type x, y, z, w; };                                                                   \
    inline name##1 make_##name##1(type x) { return {x}; }                                                                  \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                                       \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                            \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMU_VECTORS(char, signed char, 2, 4)
EMU_VECTORS(uchar, unsigned char, 2, 4)
EMU_VECTORS(short, short, 4, 8)
EMU_VECTORS(ushort, unsigned short, 4, 8)
EMU_VECTORS(int, int, 8, 16)
EMU_VECTORS(uint, unsigned, 8, 16)
EMU_VECTORS(longlong, long long, 16, 16)
EMU_VECTORS(ulonglong, unsigned long long, 16, 16)
EMU_VECTORS(float, float, 8, 16)
EMU_VECTORS(double, double, 16, 16)
#undef EMU_VECTORS
