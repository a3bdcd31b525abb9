// What kernels call: thin doors to the runner of the calling thread.
#include "check/hooks.h"
#include "executor/block_runner.h"

const char emu_abi_identity = 0;

namespace {
emu::BlockRunner& runner() { return *emu::BlockRunner::current(); }
} // namespace

void emu_block_rendezvous(void* operands, EmuBlockStep step) { runner().block_rendezvous(operands, step, __builtin_return_address(0)); }

void emu_warp_rendezvous(unsigned mask, void* operands, EmuWarpStep step) {
    runner().warp_rendezvous(mask, operands, step, __builtin_return_address(0));
}

void emu_async_copy(void* shared_destination, const void* global_source, unsigned bytes, unsigned valid_bytes) {
    runner().async_copies().issue(*emu_current, shared_destination, global_source, bytes, valid_bytes, __builtin_return_address(0));
}

void emu_async_commit() { runner().async_copies().commit(*emu_current); }

void emu_async_wait(int groups_left) { runner().async_copies().wait(*emu_current, groups_left); }

unsigned long long emu_shared_address(const void* shared) {
    return static_cast<unsigned long long>(static_cast<const unsigned char*>(shared) - check::shared_arena(runner().checker()));
}

void emu_named_barrier(unsigned barrier, unsigned threads, bool wait) {
    runner().named_barriers().arrive(barrier, threads, wait, __builtin_return_address(0));
}

void emu_mbarrier_init(void* barrier, unsigned arrivals) { runner().mbarriers().init(barrier, arrivals, __builtin_return_address(0)); }

void emu_mbarrier_arrive(void* barrier, unsigned expected_bytes) { runner().mbarriers().arrive(barrier, expected_bytes, __builtin_return_address(0)); }

void emu_mbarrier_wait(void* barrier, unsigned parity) { runner().mbarriers().wait(barrier, parity, __builtin_return_address(0)); }

void emu_bulk_copy(void* shared_destination, const void* global_source, unsigned bytes, void* barrier) {
    runner().bulk_copies().issue(shared_destination, global_source, bytes, barrier, __builtin_return_address(0));
}

void emu_tensor_copy(void* shared_destination, const void* tensor_map, const int* coordinates, unsigned rank, void* barrier) {
    runner().bulk_copies().issue_tensor(shared_destination, tensor_map, coordinates, rank, barrier, __builtin_return_address(0));
}

void emu_proxy_fence() { runner().mbarriers().proxy_fence(); }

void emu_set_registers(unsigned registers) { runner().set_registers(registers); }

void emu_warpgroup_fence() { runner().warpgroup_products().fence(); }

void emu_warpgroup_product(const EmuWarpgroupProduct* product) { runner().warpgroup_products().begin(*product, __builtin_return_address(0)); }

void emu_warpgroup_commit() { runner().warpgroup_products().commit(); }

void emu_warpgroup_wait(int groups_left) { runner().warpgroup_products().wait(groups_left, __builtin_return_address(0)); }

unsigned emu_cluster_rank() { return runner().cluster_rank(); }

void emu_cluster_sync() { runner().cluster_sync(__builtin_return_address(0)); }

void emu_cluster_read(const void* own, unsigned rank, void* to, unsigned bytes) {
    runner().cluster_read(own, rank, to, bytes, __builtin_return_address(0));
}

void emu_dependency_wait() { check::dependency_wait(runner().checker()); }

void emu_count_matrix_ops(unsigned long long multiply_adds) {
    if (runner().launch().count_accesses) check::count_matrix_ops(multiply_adds);
}

void emu_note_access(int lane, const void* address, unsigned bytes, bool write) {
    check::note_access(emu_current->linear / 32 * 32 + static_cast<unsigned>(lane), address, bytes, write, __builtin_return_address(0));
}

void emu_thread_started() { check::set_thread(runner().checker(), emu_current->linear); }

void emu_pause() { runner().pause(__builtin_return_address(0)); }

void emu_trap() { runner().fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "the kernel executed a trap", __builtin_return_address(0)); }

void emu_resume_ready() { runner().thread_ended(); }

void emu_threads_exhausted() { runner().threads_exhausted(); }
