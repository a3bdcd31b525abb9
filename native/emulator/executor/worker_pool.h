// The process's worker threads: one per core less the caller. They spin briefly for the next job, then sleep.
#pragma once

#include <functional>

namespace emu {

// Number of threads that take part in a parallel job, the caller included.
int worker_count();

// Calls body(worker) once on each of up to `workers` threads, the caller included, and returns when all are done. Runs on the caller
// alone when the workers are busy with somebody else's job. Bodies share work among themselves, and must not nest.
void run_on_workers(int workers, const std::function<void(int worker)>& body);

// fn(index) for index in [0, count), spread over the workers.
void parallel_for(long long count, const std::function<void(long long index)>& fn);

} // namespace emu
