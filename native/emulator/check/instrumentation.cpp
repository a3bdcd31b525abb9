// The functions that -fsanitize=thread makes instrumented kernels call, under g++'s names and clang's.
#include "check/worker.h"

#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default")))
#define SITE __builtin_return_address(0)

namespace {

using namespace check;

template <u64 Bytes>
inline void sized(const void* address, Access access, bool aligned, const void* site) {
    Worker* worker = current_worker;
    if (worker != nullptr && worker->launch != nullptr)
        worker->access(reinterpret_cast<u64>(address), Bytes, access, aligned, site);
}

inline void range(const void* address, u64 bytes, Access access, const void* site) {
    Worker* worker = current_worker;
    if (bytes != 0 && worker != nullptr && worker->launch != nullptr)
        worker->access(reinterpret_cast<u64>(address), bytes, access, false, site);
}

}

#define SIZED(bytes)                                                                                                                      \
    EXPORT void __tsan_read##bytes(void* address) { sized<bytes>(address, Access::Read, true, SITE); }                                    \
    EXPORT void __tsan_write##bytes(void* address) { sized<bytes>(address, Access::Write, true, SITE); }                                  \
    EXPORT void __tsan_volatile_read##bytes(void* address) { sized<bytes>(address, Access::Read, true, SITE); }                           \
    EXPORT void __tsan_volatile_write##bytes(void* address) { sized<bytes>(address, Access::Write, true, SITE); }                         \
    EXPORT void __tsan_unaligned_read##bytes(void* address) { sized<bytes>(address, Access::Read, false, SITE); }                         \
    EXPORT void __tsan_unaligned_write##bytes(void* address) { sized<bytes>(address, Access::Write, false, SITE); }                       \
    EXPORT void __tsan_unaligned_volatile_read##bytes(void* address) { sized<bytes>(address, Access::Read, false, SITE); }                \
    EXPORT void __tsan_unaligned_volatile_write##bytes(void* address) { sized<bytes>(address, Access::Write, false, SITE); }              \
    EXPORT void __tsan_read_write##bytes(void* address) {                                                                                 \
        sized<bytes>(address, Access::Read, true, SITE);                                                                                  \
        sized<bytes>(address, Access::Write, true, SITE);                                                                                 \
    }                                                                                                                                     \
    EXPORT void __tsan_unaligned_read_write##bytes(void* address) {                                                                       \
        sized<bytes>(address, Access::Read, false, SITE);                                                                                 \
        sized<bytes>(address, Access::Write, false, SITE);                                                                                \
    }
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)

EXPORT void __tsan_read_range(void* address, u64 bytes) { range(address, bytes, Access::Read, SITE); }
EXPORT void __tsan_write_range(void* address, u64 bytes) { range(address, bytes, Access::Write, SITE); }

// clang calls the first name; g++ calls the plain function, which checked modules are linked to reach under the second.
#define BLOCK_FUNCTIONS(prefix)                                                                                                           \
    EXPORT void* prefix##memcpy(void* destination, const void* source, size_t bytes) {                                                    \
        range(source, bytes, Access::Read, SITE);                                                                                         \
        range(destination, bytes, Access::Write, SITE);                                                                                   \
        return memcpy(destination, source, bytes);                                                                                        \
    }                                                                                                                                     \
    EXPORT void* prefix##memmove(void* destination, const void* source, size_t bytes) {                                                   \
        range(source, bytes, Access::Read, SITE);                                                                                         \
        range(destination, bytes, Access::Write, SITE);                                                                                   \
        return memmove(destination, source, bytes);                                                                                       \
    }                                                                                                                                     \
    EXPORT void* prefix##memset(void* destination, int value, size_t bytes) {                                                             \
        range(destination, bytes, Access::Write, SITE);                                                                                   \
        return memset(destination, value, bytes);                                                                                         \
    }
BLOCK_FUNCTIONS(__tsan_)
BLOCK_FUNCTIONS(__wrap_)

EXPORT void __tsan_init() {}
EXPORT void __tsan_func_entry(void*) {}
EXPORT void __tsan_func_exit() {}
EXPORT void __tsan_vptr_update(void**, void*) {}
EXPORT void __tsan_vptr_read(void**) {}
EXPORT void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EXPORT void __tsan_atomic_signal_fence(int) {}

// Orders are strengthened to the strongest: x86 has little weaker, and the order of threads is shuffled elsewhere.
#define ATOMIC_UPDATE(bits, name)                                                                                                         \
    EXPORT u##bits __tsan_atomic##bits##_##name(volatile u##bits* address, u##bits value, int) {                                          \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Atomic, true, SITE);                                                 \
        return __atomic_##name(address, value, __ATOMIC_SEQ_CST);                                                                         \
    }
#define ATOMIC(bits)                                                                                                                      \
    EXPORT u##bits __tsan_atomic##bits##_load(const volatile u##bits* address, int) {                                                     \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Read, true, SITE);                                                   \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                                                                \
    }                                                                                                                                     \
    EXPORT void __tsan_atomic##bits##_store(volatile u##bits* address, u##bits value, int) {                                              \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Write, true, SITE);                                                  \
        __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                                                               \
    }                                                                                                                                     \
    EXPORT u##bits __tsan_atomic##bits##_exchange(volatile u##bits* address, u##bits value, int) {                                        \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Atomic, true, SITE);                                                 \
        return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                                                                     \
    }                                                                                                                                     \
    ATOMIC_UPDATE(bits, fetch_add)                                                                                                        \
    ATOMIC_UPDATE(bits, fetch_sub)                                                                                                        \
    ATOMIC_UPDATE(bits, fetch_and)                                                                                                        \
    ATOMIC_UPDATE(bits, fetch_or)                                                                                                         \
    ATOMIC_UPDATE(bits, fetch_xor)                                                                                                        \
    ATOMIC_UPDATE(bits, fetch_nand)                                                                                                       \
    EXPORT int __tsan_atomic##bits##_compare_exchange_strong(volatile u##bits* address, u##bits* expected, u##bits wanted, int, int) {    \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Atomic, true, SITE);                                                 \
        return __atomic_compare_exchange_n(address, expected, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
    }                                                                                                                                     \
    EXPORT int __tsan_atomic##bits##_compare_exchange_weak(volatile u##bits* address, u##bits* expected, u##bits wanted, int, int) {      \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Atomic, true, SITE);                                                 \
        return __atomic_compare_exchange_n(address, expected, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
    }                                                                                                                                     \
    EXPORT u##bits __tsan_atomic##bits##_compare_exchange_val(volatile u##bits* address, u##bits expected, u##bits wanted, int, int) {    \
        sized<bits / 8>(const_cast<const u##bits*>(address), Access::Atomic, true, SITE);                                                 \
        __atomic_compare_exchange_n(address, &expected, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                               \
        return expected;                                                                                                                  \
    }
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
