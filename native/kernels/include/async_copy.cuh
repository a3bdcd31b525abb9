// Asynchronous copies from global to shared memory (cp.async), 16 bytes a thread and call.
//
// A copy lands, for the thread that issued it, when that thread has waited for its group; the other threads of the block see it after the
// barrier that follows the wait. The emulator's checked kernels keep the copies queued until the wait, so that a missing wait shows; its
// unchecked ones copy at once, which no correct kernel can tell.
//
// Unproved: the PTX form (cp.async) compiles, but has not run on a GPU so far; tests ran its twins on the emulator.
//
//     async_copy_16(...); async_copy_16(...); async_commit();      // group 0
//     async_copy_16(...); async_commit();                          // group 1
//     async_wait<1>(); __syncthreads();                            // group 0 has landed, group 1 may be under way
#pragma once
#include "include/vec.cuh"

// A place in shared memory, taken from its generic address once for all copies that count from there.
struct SharedPlace {
#if defined(GRIFFIN_EMULATOR)
    u8* at;
    explicit GK_DEVICE SharedPlace(void* p) : at(static_cast<u8*>(p)) {}
#else
    u32 at;
    explicit GK_DEVICE SharedPlace(void* p) : at(static_cast<u32>(__cvta_generic_to_shared(p))) {}
#endif
    GK_DEVICE void skip(i32 bytes) { at += bytes; }
    GK_DEVICE SharedPlace past(i32 bytes) const {
        SharedPlace place = *this;
        place.skip(bytes);
        return place;
    }
};

// Copies the first `valid` bytes of 16 (0 to 16) from global to shared memory and fills the rest with zeros. Both addresses are multiples of 16.
// With `valid` 0 nothing is read, but `source` must still be a well-formed address: pass the tensor's base.
GK_DEVICE void async_copy_16(SharedPlace destination, const void* source, i32 valid = 16) {
#if defined(GRIFFIN_CHECKED)
    emu::async_copy(destination.at, source, 16u, static_cast<u32>(valid));
#elif defined(GRIFFIN_EMULATOR)
    Vec<u8, 16> piece = {};
    if (valid == 16)
        piece = load_vec<16>(static_cast<const u8*>(source));
    else
        for (i32 i = 0; i < valid; ++i) piece.v[i] = static_cast<const u8*>(source)[i];
    store_vec<16>(destination.at, piece);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination.at), "l"(source), "r"(valid) : "memory");
#endif
}

GK_DEVICE void async_copy_16(void* shared_destination, const void* source, i32 valid = 16) { async_copy_16(SharedPlace(shared_destination), source, valid); }

// Closes the group of the copies issued by this thread since the last commit; an empty group is fine.
GK_DEVICE void async_commit() {
#if defined(GRIFFIN_CHECKED)
    emu::async_commit();
#elif !defined(GRIFFIN_EMULATOR)
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most `GroupsLeft` of this thread's newest groups are under way.
template <i32 GroupsLeft>
GK_DEVICE void async_wait() {
#if defined(GRIFFIN_CHECKED)
    emu::async_wait(GroupsLeft);
#elif !defined(GRIFFIN_EMULATOR)
    asm volatile("cp.async.wait_group %0;" ::"n"(GroupsLeft) : "memory");
#endif
}

// Bytes of a 16-byte piece that lie inside a row: `left` elements of `Size` bytes remain from the piece's first element on.
template <i32 Size>
GK_DEVICE i32 async_valid_bytes(i64 left) {
    if (left <= 0) return 0;
    return left * Size >= 16 ? 16 : static_cast<i32>(left) * Size;
}
