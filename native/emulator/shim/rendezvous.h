// Barriers, warp operations and asynchronous copies, over the two rendezvous that the executor provides.
#pragma once

#define EMU_INLINE inline __attribute__((always_inline))

namespace emu {

using WarpStep = void (*)(void* const* lanes, unsigned mask);
using BlockStep = void (*)(void* const* threads, int count);

EMU_INLINE void warp_rendezvous(unsigned mask, void* operands, WarpStep step) { emu_warp_rendezvous(mask, operands, step); }
EMU_INLINE void block_rendezvous(void* operands, BlockStep step) { emu_block_rendezvous(operands, step); }
EMU_INLINE void async_copy(void* shared_dst, const void* global_src, unsigned bytes, unsigned valid_bytes) {
    emu_async_copy(shared_dst, global_src, bytes, valid_bytes);
}
EMU_INLINE void async_commit() { emu_async_commit(); }
EMU_INLINE void async_wait(int groups_left) { emu_async_wait(groups_left); }
EMU_INLINE void dependency_wait() { emu_dependency_wait(); }
EMU_INLINE void count_matrix_ops(unsigned long long multiply_adds) { emu_count_matrix_ops(multiply_adds); }
EMU_INLINE void note_access([[maybe_unused]] int lane, [[maybe_unused]] const void* address, [[maybe_unused]] unsigned bytes,
                            [[maybe_unused]] bool write) {
#if defined(GRIFFIN_CHECKED)
    emu_note_access(lane, address, bytes, write);
#endif
}
EMU_INLINE unsigned lane_id() { return emu_own(emu_own(emu_current)->linear) & 31u; }

template <class T> struct ShuffleOperands { T value; T result; int source; };

// Every lane reads the value of the lane it names. A lane that takes no part has no value: its readers get all-one bits.
template <class T> void shuffle_step(void* const* lanes, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
        auto* self = static_cast<ShuffleOperands<T>*>(lanes[lane]);
        if (!self) continue;
        auto* source = static_cast<ShuffleOperands<T>*>(lanes[self->source]);
        if (source) self->result = source->value;
        else __builtin_memset(&self->result, 0xFF, sizeof(T));
    }
}

template <class T> EMU_INLINE T shuffle(unsigned mask, T value, int source) {
    ShuffleOperands<T> operands{value, value, source};
    warp_rendezvous(mask, &operands, &shuffle_step<T>);
    return operands.result;
}

template <class T> struct VoteOperands { T value; unsigned result; };

template <class T> void ballot_step(void* const* lanes, unsigned) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane)
        if (lanes[lane] && static_cast<VoteOperands<T>*>(lanes[lane])->value) votes |= 1u << lane;
    for (int lane = 0; lane < 32; ++lane)
        if (lanes[lane]) static_cast<VoteOperands<T>*>(lanes[lane])->result = votes;
}

template <class T> void match_step(void* const* lanes, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
        auto* self = static_cast<VoteOperands<T>*>(lanes[lane]);
        if (!self) continue;
        self->result = 0;
        for (int other = 0; other < 32; ++other)
            if (lanes[other] && static_cast<VoteOperands<T>*>(lanes[other])->value == self->value) self->result |= 1u << other;
    }
}

inline void count_step(void* const* threads, int count) {
    unsigned votes = 0;
    for (int i = 0; i < count; ++i) votes += static_cast<VoteOperands<int>*>(threads[i])->value != 0;
    for (int i = 0; i < count; ++i) static_cast<VoteOperands<int>*>(threads[i])->result = votes;
}

} // namespace emu

EMU_INLINE void __syncthreads() { emu::block_rendezvous(nullptr, nullptr); }
EMU_INLINE int __syncthreads_count(int predicate) {
    emu::VoteOperands<int> operands{predicate, 0};
    emu::block_rendezvous(&operands, &emu::count_step);
    return (int)operands.result;
}
EMU_INLINE int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
EMU_INLINE int __syncthreads_and(int predicate) { return __syncthreads_count(predicate) == (int)emu_own(emu_own(emu_block)->count); }
EMU_INLINE void __syncwarp(unsigned mask = 0xFFFFFFFFu) { emu::warp_rendezvous(mask, nullptr, nullptr); }

template <class T> EMU_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int lane = (int)emu::lane_id();
    return emu::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T> EMU_INLINE T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = (int)emu::lane_id(), source = lane ^ bits;
    return emu::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}
template <class T> EMU_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = (int)emu::lane_id(), source = lane - (int)delta;
    return emu::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source);
}
template <class T> EMU_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = (int)emu::lane_id(), source = lane + (int)delta;
    return emu::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}
EMU_INLINE unsigned __ballot_sync(unsigned mask, int predicate) {
    emu::VoteOperands<int> operands{predicate, 0};
    emu::warp_rendezvous(mask, &operands, &emu::ballot_step<int>);
    return operands.result;
}
EMU_INLINE int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
EMU_INLINE int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <class T> EMU_INLINE unsigned __match_any_sync(unsigned mask, T value) {
    emu::VoteOperands<T> operands{value, 0};
    emu::warp_rendezvous(mask, &operands, &emu::match_step<T>);
    return operands.result;
}
// Of an address in shared memory only.
EMU_INLINE size_t __cvta_generic_to_shared(const void* shared) { return emu_shared_address(shared); }
EMU_INLINE void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMU_INLINE void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMU_INLINE void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMU_INLINE void __nanosleep(unsigned) { emu_pause(); }
EMU_INLINE void __trap() { emu_trap(); }
