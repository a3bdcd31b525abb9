// The calls about launches, blocks and threads.
#include "check/worker.h"

#include <algorithm>

namespace check {

Launch* begin_launch(const LaunchInfo& info) { return new Launch(info); }

void end_launch(Launch* launch, bool completed) {
    if (completed && launch->info.count) keep_record(launch->info, launch->counts);
    if (launch->info.written != nullptr) launch->info.written->add(launch->written());
    delete launch;
}

Worker* create_worker() {
    const u64 shared = take_shared_memory();
    if (shared == 0) return nullptr;
    auto* worker = new Worker;
    worker->shared_base = shared;
    return worker;
}

void destroy_worker(Worker* worker) {
    return_shared_memory(worker->shared_base);
    delete worker;
}

void use_worker(Worker* worker) { current_worker = worker; }

unsigned char* shared_arena(Worker* worker) { return reinterpret_cast<unsigned char*>(worker->shared_base); }

void begin_block(Worker* worker, Launch* launch, Dim3 block_index) {
    if (worker->cells.empty()) worker->cells.resize(kSharedArenaBytes / 2);
    const Dim3 size = launch->info.block;
    worker->start_block(launch, block_index);
    worker->waited.reset();
    worker->noted = {};
    worker->counting = launch->info.count;
    if (worker->counting) worker->requests.begin(&launch->counts, size.x * size.y * size.z);
}

void add_shared_array(Worker* worker, const void* address, u32 bytes, const char* name) {
    const u64 offset = reinterpret_cast<u64>(address) - worker->shared_base;
    const auto same = [offset](const SharedArray& array) { return array.offset == offset; };
    if (std::none_of(worker->arrays.begin(), worker->arrays.end(), same)) worker->arrays.push_back({offset, bytes, name});
}

void end_block(Worker* worker) {
    if (worker->counting) worker->requests.block_met();
    worker->launch = nullptr;
    worker->counting = false;
}

void set_thread(Worker* worker, u32 thread) { worker->thread = thread; }

void barrier_passed(Worker* worker) {
    worker->pass_barrier();
    if (!worker->counting) return;
    worker->requests.block_met();
    worker->launch->counts.barriers.fetch_add(1, std::memory_order_relaxed);
}

void cluster_arrived(Worker* worker) { worker->cluster_met[worker->cluster_barriers++ % 2] = worker->time; }

void cluster_read(Worker* worker, Worker* other, u64 offset, u32 bytes, const void* site) {
    other->cluster_read(offset, bytes, worker->cluster_barriers, site);
}

void warp_met(Worker* worker, u32 warp, u32 mask, bool orders_memory) {
    if (orders_memory) worker->order_warp(warp);
    if (worker->counting) worker->requests.warp_met(warp, mask);
}

void begin_step(Worker* worker) { worker->in_step = true; }

void end_step(Worker* worker, bool whole_block) {
    worker->in_step = false;
    if (whole_block) worker->pass_barrier();
    else worker->order_warp(worker->thread / 32);
}

void note_access(u32 thread, const void* address, u32 bytes, bool write, const void* site) {
    Worker* worker = current_worker;
    if (worker == nullptr || worker->launch == nullptr) return;
    const u32 running = worker->thread;
    worker->thread = thread;   // a fault names the thread on whose behalf the step runs
    const u64 at = reinterpret_cast<u64>(address);
    const Access kind = write ? Access::Write : Access::Read;
    worker->access(at, bytes, kind, (bytes & (bytes - 1)) == 0, site);
    if (worker->counting && worker->in_step) worker->count(at, bytes, kind, site);
    worker->thread = running;
}

void async_issued(void* destination, const void* source, u32 bytes, u32 valid_bytes, const void* site) {
    Worker* worker = current_worker;
    if (worker != nullptr && worker->launch != nullptr)
        worker->async_issued(reinterpret_cast<u64>(destination), reinterpret_cast<u64>(source), bytes, valid_bytes, site);
}

void async_landed(Worker* worker, u32 thread, void* destination, u32 bytes) {
    if (worker->launch != nullptr) worker->async_landed(thread, reinterpret_cast<u64>(destination), bytes);
}

void bulk_issued(void* destination, u32 bytes, const void* site) {
    current_worker->bulk_issued(reinterpret_cast<u64>(destination), bytes, site);
}

void bulk_source(const void* source, u32 bytes, const void* site) {
    current_worker->access(reinterpret_cast<u64>(source), bytes, Access::Read, false, site);
}

void bulk_landed(Worker* worker, u32 thread, void* destination, u32 bytes) {
    worker->async_landed(thread, reinterpret_cast<u64>(destination), bytes, cell::kWriteByProxy);
}

void product_begins(Worker* worker, u32 first, u32 threads) { worker->ordering.begin_product(worker->reader_of(first), first, threads); }

void product_read(Worker* worker, u32 first, u32 thread, const void* address, u32 bytes, const void* site) {
    const u32 running = worker->thread;
    worker->thread = worker->reader_of(first);
    worker->proxy_read(reinterpret_cast<u64>(address), bytes, site);
    worker->thread = thread;
    if (worker->counting) worker->count(reinterpret_cast<u64>(address), bytes, Access::Read, site);
    worker->thread = running;
}

void product_waited(Worker* worker, u32 first, u32 thread) { worker->see_product(worker->reader_of(first), thread); }

void proxy_fenced(Worker* worker, u32 thread) { worker->fence_proxy(thread); }

void released(Worker* worker, u64 object, u32 thread) { worker->release(object, thread); }

void phase_completed(Worker* worker, u64 object) { worker->ordering.complete_phase(object); }

void acquired(Worker* worker, u64 object, u32 thread) { worker->ordering.acquire(object, thread); }

void count_matrix_ops(u64 multiply_adds) {
    Worker* worker = current_worker;
    if (worker != nullptr && worker->counting) worker->launch->counts.multiply_adds.fetch_add(multiply_adds, std::memory_order_relaxed);
}

} // namespace check
