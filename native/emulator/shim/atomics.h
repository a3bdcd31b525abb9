// CUDA's atomic functions: relaxed, device scope.
#pragma once

namespace emu {

template <class T, class F> EMU_INLINE T atomic_update(T* address, F&& next) {
    T expected, desired;
    __atomic_load(address, &expected, __ATOMIC_RELAXED);
    do desired = next(expected);
    while (!__atomic_compare_exchange(address, &expected, &desired, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return expected;
}

} // namespace emu

#define EMU_ATOMICS(T)                                                                                                           \
    EMU_INLINE T atomicAdd(T* address, T value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }                 \
    EMU_INLINE T atomicExch(T* address, T value) { return __atomic_exchange_n(address, value, __ATOMIC_RELAXED); }               \
    EMU_INLINE T atomicAnd(T* address, T value) { return __atomic_fetch_and(address, value, __ATOMIC_RELAXED); }                 \
    EMU_INLINE T atomicOr(T* address, T value) { return __atomic_fetch_or(address, value, __ATOMIC_RELAXED); }                   \
    EMU_INLINE T atomicXor(T* address, T value) { return __atomic_fetch_xor(address, value, __ATOMIC_RELAXED); }                 \
    EMU_INLINE T atomicMin(T* address, T value) {                                                                                \
        return emu::atomic_update(address, [=](T old) { return old < value ? old : value; });                                    \
    }                                                                                                                            \
    EMU_INLINE T atomicMax(T* address, T value) {                                                                                \
        return emu::atomic_update(address, [=](T old) { return old > value ? old : value; });                                    \
    }                                                                                                                            \
    EMU_INLINE T atomicCAS(T* address, T compare, T value) {                                                                     \
        __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                        \
        return compare;                                                                                                          \
    }
EMU_ATOMICS(int)
EMU_ATOMICS(unsigned)
EMU_ATOMICS(long long)
EMU_ATOMICS(unsigned long long)
#undef EMU_ATOMICS

EMU_INLINE int atomicSub(int* address, int value) { return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED); }
EMU_INLINE unsigned atomicSub(unsigned* address, unsigned value) { return __atomic_fetch_sub(address, value, __ATOMIC_RELAXED); }
EMU_INLINE unsigned atomicInc(unsigned* address, unsigned limit) {
    return emu::atomic_update(address, [=](unsigned old) { return old >= limit ? 0u : old + 1; });
}
EMU_INLINE unsigned atomicDec(unsigned* address, unsigned limit) {
    return emu::atomic_update(address, [=](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}
EMU_INLINE float atomicAdd(float* address, float value) {
    return emu::atomic_update(address, [=](float old) { return old + value; });
}
EMU_INLINE double atomicAdd(double* address, double value) {
    return emu::atomic_update(address, [=](double old) { return old + value; });
}
EMU_INLINE float atomicExch(float* address, float value) {
    return emu::atomic_update(address, [=](float) { return value; });
}
EMU_INLINE unsigned short atomicCAS(unsigned short* address, unsigned short compare, unsigned short value) {
    __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return compare;
}
