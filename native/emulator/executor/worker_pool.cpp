#include "executor/worker_pool.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace emu {

namespace {

constexpr int kSpins = 2000;

class WorkerPool {
public:
    explicit WorkerPool(int workers) {
        for (int i = 1; i < workers; ++i) std::thread([this, i] { serve(i); }).detach();
    }

    bool try_run(int workers, const std::function<void(int)>& body) {
        std::unique_lock<std::mutex> turn(_turn, std::try_to_lock);
        if (!turn.owns_lock()) return false;
        _body = &body;
        _helpers.store(workers - 1, std::memory_order_relaxed);
        _unfinished.store(workers - 1, std::memory_order_relaxed);
        _job.fetch_add(1, std::memory_order_seq_cst);
        if (_sleepers.load(std::memory_order_seq_cst) > 0) {
            std::lock_guard<std::mutex> lock(_mutex);
            _wake.notify_all();
        }
        body(0);
        // Helpers that have not come yet are not waited for.
        int missed = _helpers.exchange(0, std::memory_order_acq_rel);
        if (missed > 0) _unfinished.fetch_sub(missed, std::memory_order_acq_rel);
        for (int spin = 0; _unfinished.load(std::memory_order_acquire) != 0; ++spin)
            if (spin < kSpins) __builtin_ia32_pause();
            else std::this_thread::yield();
        return true;
    }

private:
    void serve(int worker) {
        unsigned long long seen = 0;
        for (;;) {
            seen = await(seen);
            int left = _helpers.load(std::memory_order_acquire);
            while (left > 0 && !_helpers.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel)) {}
            if (left <= 0) continue;
            (*_body)(worker);
            _unfinished.fetch_sub(1, std::memory_order_acq_rel);
        }
    }

    unsigned long long await(unsigned long long seen) {
        for (int spin = 0; spin < kSpins; ++spin) {
            if (unsigned long long job = _job.load(std::memory_order_acquire); job != seen) return job;
            __builtin_ia32_pause();
        }
        std::unique_lock<std::mutex> lock(_mutex);
        _sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (_job.load(std::memory_order_seq_cst) == seen) _wake.wait(lock);
        _sleepers.fetch_sub(1, std::memory_order_seq_cst);
        return _job.load(std::memory_order_acquire);
    }

    std::mutex _turn;
    const std::function<void(int)>* _body = nullptr;
    std::atomic<unsigned long long> _job{0};
    std::atomic<int> _helpers{0}, _unfinished{0}, _sleepers{0};
    std::mutex _mutex;
    std::condition_variable _wake;
};

// Never destroyed: the threads live as long as the process.
WorkerPool& pool() {
    static WorkerPool* instance = new WorkerPool(worker_count());
    return *instance;
}

} // namespace

int worker_count() {
    static const int count = std::thread::hardware_concurrency() > 0 ? static_cast<int>(std::thread::hardware_concurrency()) : 1;
    return count;
}

void run_on_workers(int workers, const std::function<void(int)>& body) {
    if (workers > worker_count()) workers = worker_count();
    if (workers <= 1 || !pool().try_run(workers, body)) body(0);
}

void parallel_for(long long count, const std::function<void(long long)>& fn) {
    std::atomic<long long> next{0};
    auto body = [&](int) {
        for (long long index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;) fn(index);
    };
    run_on_workers(count > 1 ? worker_count() : 1, body);
}

} // namespace emu
