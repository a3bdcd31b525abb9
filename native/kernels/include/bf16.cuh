// bfloat16 as storage: arithmetic happens in f32, rounding (to nearest even) at each store.
// to_float and from_float exist for both storage types, so a kernel is written once for T in {bf16, f32}.
#pragma once
#include "include/base.cuh"

struct bf16 { u16 bits; };

GK_DEVICE f32 to_float(bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }
GK_DEVICE f32 to_float(f32 x) { return x; }

// Rounds to nearest even; a NaN becomes the canonical 0x7FFF on both machines. Unproved: the PTX form has not run on a GPU so far.
GK_DEVICE bf16 to_bf16(f32 x) {
#if defined(GRIFFIN_EMULATOR)
    const u32 bits = __float_as_uint(x);
    const u32 rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return bf16{static_cast<u16>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FFFu : rounded)};
#else
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
#endif
}

template <typename T>
struct Storage;
template <>
struct Storage<bf16> { static GK_DEVICE bf16 from(f32 x) { return to_bf16(x); } };
template <>
struct Storage<f32> { static GK_DEVICE f32 from(f32 x) { return x; } };

// from_float<T>(x): one rounding to the storage type T.
template <typename T>
GK_DEVICE T from_float(f32 x) { return Storage<T>::from(x); }

// The value that x has after a store as T and a load: where a contract rounds in the middle of a kernel.
template <typename T>
GK_DEVICE f32 round_to(f32 x) { return to_float(from_float<T>(x)); }
