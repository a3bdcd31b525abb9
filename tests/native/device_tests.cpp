// Streams, events, contexts, cooperative launches and faults on plain and checked devices.
#include "testing.h"

#include <atomic>
#include <cmath>
#include <thread>

using namespace testing;

namespace {

constexpr unsigned kNonBlocking = 1;

const char* const kSource = R"(
__global__ void fill(int* x, int value, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = value;
}
__global__ void copy(const int* x, int* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}
__global__ void grid_rounds(unsigned* arrived, int* order, int rounds) {
    __shared__ int seen;
    for (int round = 1; round <= rounds; ++round) {
        if (threadIdx.x == 0) {
            atomicAdd(arrived, 1u);
            while (atomicAdd(arrived, 0u) < gridDim.x * round) __nanosleep(100);
            seen = round;
        }
        __syncthreads();
        if (seen != round) order[blockIdx.x] = -1;
        __syncthreads();
    }
    if (threadIdx.x == 0 && order[blockIdx.x] == 0) order[blockIdx.x] = rounds;
}
__global__ void wait_for_a_block_that_faults(unsigned* arrived) {
    if (blockIdx.x == 0) __trap();
    while (atomicAdd(arrived, 0u) == 0) __nanosleep(100);
}
__global__ void chain(unsigned* tickets, unsigned* flags, long long* sums, int work) {
    __shared__ unsigned turn;
    if (threadIdx.x == 0) turn = atomicAdd(tickets, 1u);
    __syncthreads();
    unsigned mine = turn, noise = mine;
    for (unsigned i = 0; i < work + mine * 7919u % 1000u; ++i) noise = noise * 1664525u + 1013904223u;
    if (threadIdx.x != mine % blockDim.x) return;
    long long before = 0;
    if (mine > 0) {
        while (atomicAdd(&flags[mine - 1], 0u) == 0) __nanosleep(20);
        __threadfence();
        before = sums[mine - 1];
    }
    sums[mine] = before + mine + (noise == 1u);
    __threadfence();
    atomicExch(&flags[mine], 1u);
}
__global__ void wait_for_a_later_block(unsigned* arrived) {
    if (blockIdx.x == 0) while (atomicAdd(arrived, 0u) == 0) __nanosleep(100);
    else atomicExch(arrived, 1u);
}
__global__ void wild(int* x, long long offset) { x[offset] = 1; }
__global__ void deep(int* x, int n) {
    volatile int local[60000];
    for (int i = 0; i < n; ++i) local[i] = i;
    x[0] = local[n - 1];
}
__global__ void divide(int* x, int by) { x[0] = x[0] / by; }
__global__ void stop(int* x) { if (x[0] == 7) __trap(); }
)";

// Two streams, each writing one value and copying it out; joined by events unless `joined` is false.
std::vector<int> pipeline(uint64_t seed, bool joined) {
    Device device(true, seed);
    Kernel fill(device, kSource, "fill"), copy(device, kSource, "copy");
    Buffer<int> x(std::vector<int>(64, 0)), y(std::vector<int>(64, 0));
    CUstream first = nullptr, second = nullptr;
    CUevent written = nullptr;
    cuStreamCreate(&first, kNonBlocking);
    cuStreamCreate(&second, kNonBlocking);
    cuEventCreate(&written, 2);
    CHECK_RESULT(0, fill.launch(first, 1, 64, 0, x.address, 5, 64));
    CHECK_RESULT(0, cuEventRecord(written, first));
    if (joined) CHECK_RESULT(0, cuStreamWaitEvent(second, written, 0));
    CHECK_RESULT(0, copy.launch(second, 1, 64, 0, x.address, y.address, 64));
    CHECK_RESULT(0, cuStreamSynchronize(second));
    std::vector<int> result = y.read();
    cuEventDestroy_v2(written);
    cuStreamDestroy_v2(first);
    cuStreamDestroy_v2(second);
    return result;
}

} // namespace

TEST_CASE("an event orders two streams for every seed; without it some seeds show the old values") {
    int stale = 0;
    for (uint64_t seed = 0; seed < 12; ++seed) {
        CHECK(pipeline(seed, true) == std::vector<int>(64, 5));
        stale += pipeline(seed, false) != std::vector<int>(64, 5);
    }
    CHECK(stale > 0 && stale < 12);
}

TEST_CASE("checked work waits until somebody synchronises, and a query makes progress") {
    Device device(true);
    Kernel fill(device, kSource, "fill");
    void* pinned = nullptr;
    CHECK_RESULT(0, cuMemHostAlloc(&pinned, 64 * sizeof(int), 0));
    auto* host = static_cast<int*>(pinned);
    host[0] = -1;
    Buffer<int> x(64);
    CUstream stream = nullptr;
    CUevent done = nullptr;
    CHECK_RESULT(0, cuStreamCreate(&stream, kNonBlocking));
    CHECK_RESULT(0, cuEventCreate(&done, 2));
    CHECK_RESULT(0, fill.launch(stream, 1, 64, 0, x.address, 3, 64));
    CHECK_RESULT(0, cuMemcpyDtoHAsync_v2(host, x.address, 64 * sizeof(int), stream));
    CHECK_RESULT(0, cuEventRecord(done, stream));
    CHECK(host[0] == -1);
    CHECK_RESULT(600, cuStreamQuery(stream));
    int polls = 0;
    while (cuEventQuery(done) == 600 && polls < 100) ++polls;
    CHECK(polls < 100);
    CHECK(host[0] == 3 && host[63] == 3);
    CHECK_RESULT(0, cuStreamQuery(stream));
    CHECK_RESULT(0, cuMemFreeHost(pinned));
    CHECK_RESULT(0, cuEventDestroy_v2(done));
    CHECK_RESULT(0, cuStreamDestroy_v2(stream));
}

TEST_CASE("the legacy stream waits for blocking streams") {
    for (uint64_t seed = 0; seed < 8; ++seed) {
        Device device(true, seed);
        Kernel fill(device, kSource, "fill"), copy(device, kSource, "copy");
        Buffer<int> x(std::vector<int>(64, 0)), y(std::vector<int>(64, 0));
        CUstream blocking = nullptr;
        CHECK_RESULT(0, cuStreamCreate(&blocking, 0));
        CHECK_RESULT(0, fill.launch(blocking, 1, 64, 0, x.address, 9, 64));
        CHECK_RESULT(0, copy.launch(nullptr, 1, 64, 0, x.address, y.address, 64));
        CHECK(y.read() == std::vector<int>(64, 9));
        CHECK_RESULT(0, cuStreamDestroy_v2(blocking));
    }
}

TEST_CASE("blocks of a cooperative launch run at the same time") {
    for (bool checked : {false, true}) {
        Device device(checked);
        Kernel kernel(device, kSource, "grid_rounds");
        Buffer<unsigned> arrived(std::vector<unsigned>(1, 0));
        Buffer<int> order(std::vector<int>(6, 0));
        int rounds = 10;
        void* parameters[] = {&arrived.address, &order.address, &rounds};
        CHECK_RESULT(0, cuLaunchCooperativeKernel(kernel.function, 6, 1, 1, 64, 1, 1, 0, nullptr, parameters));
        CHECK_RESULT(0, cuCtxSynchronize());
        CHECK(order.read() == std::vector<int>(6, 10));
        CHECK_RESULT(720, cuLaunchCooperativeKernel(kernel.function, 1 << 20, 1, 1, 64, 1, 1, 0, nullptr, parameters));
    }
}

TEST_CASE("blocks that wait for one that faulted end with it") {
    Device device;
    Kernel kernel(device, kSource, "wait_for_a_block_that_faults");
    Buffer<unsigned> arrived(std::vector<unsigned>(1, 0));
    void* parameters[] = {&arrived.address};
    CHECK_RESULT(715, cuLaunchCooperativeKernel(kernel.function, 4, 1, 1, 32, 1, 1, 0, nullptr, parameters));
    CHECK_CONTAINS(last_fault(), "block (0, 0, 0)");
}

TEST_CASE("blocks that wait for those with smaller tickets finish, however few run at once and in whatever order they begin") {
    constexpr unsigned blocks = 3000;
    for (int run = 0; run < 5; ++run) {
        const bool checked = run >= 2;
        Device device(checked, 10 + run, 0, run == 0 ? 1 : 0);
        Kernel kernel(device, kSource, "chain");
        Buffer<unsigned> tickets(std::vector<unsigned>(1, 0)), flags(std::vector<unsigned>(blocks, 0));
        Buffer<long long> sums(std::vector<long long>(blocks, -1));
        CHECK_RESULT(0, kernel.launch(nullptr, blocks, 32, 0, tickets.address, flags.address, sums.address, 300));
        const std::vector<long long> result = sums.read();
        long long expected = 0;
        bool equal = true;
        for (unsigned i = 0; i < blocks; ++i) equal = equal && result[i] == (expected += i);
        CHECK(equal);
        CHECK(tickets.read()[0] == blocks);
    }
}

TEST_CASE("a block that waits for one that cannot begin is a fault, not a hang") {
    Device device(false, 1, 0, 1);
    Kernel kernel(device, kSource, "wait_for_a_later_block");
    Buffer<unsigned> arrived(std::vector<unsigned>(1, 0));
    CHECK_RESULT(702, kernel.launch(nullptr, 2, 32, 0, arrived.address));
    CHECK_CONTAINS(last_fault(), "block (0, 0, 0)");
    CHECK_CONTAINS(last_fault(), "may wait only for blocks that are known to have begun");
}

TEST_CASE("an access to unmapped memory, exhausted local memory, a division by zero and a trap end the launch, not the process") {
    struct Planted { const char* kernel; CUresult error; const char* text; };
    const Planted all[] = {{"wild", 700, "illegal access"}, {"deep", 719, "local memory"}, {"divide", 719, "division by zero"},
                           {"stop", 715, "trap"}};
    for (const Planted& planted : all) {
        Device device;
        Kernel kernel(device, kSource, planted.kernel);
        Buffer<int> x(std::vector<int>(1, 7));
        long long far = -(1ll << 42);
        int zero = 0, count = 60000;
        const std::string name = planted.kernel;
        void* second = name == "wild" ? static_cast<void*>(&far) : name == "deep" ? static_cast<void*>(&count) : &zero;
        void* parameters[] = {&x.address, second};
        CUresult result = cuLaunchKernel(kernel.function, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr);
        CHECK_RESULT(planted.error, result);
        CHECK_CONTAINS(last_fault(), planted.text);
        CHECK_CONTAINS(last_fault(), std::string("kernel ") + planted.kernel + ", block (0, 0, 0), thread (0, 0, 0), test_kernel.cu:");
        CHECK_RESULT(planted.error, cuCtxSynchronize());
        CHECK_RESULT(planted.error, cuMemFree_v2(x.address));
        CHECK_RESULT(0, cuDevicePrimaryCtxReset_v2(device.ordinal()));
        CHECK_RESULT(0, cuCtxSynchronize());
        CHECK(last_fault().empty());
    }
}

TEST_CASE("threads of the host launch on devices of their own at the same time") {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
        threads.emplace_back([t, &wrong] {
            Device device(t == 1, static_cast<uint64_t>(t));
            Kernel fill(device, kSource, "fill");
            const int n = 20000;
            Buffer<int> x(n);
            for (int round = 0; round < 20; ++round) {
                if (fill.launch(nullptr, (n + 255) / 256, 256, 0, x.address, round * 10 + t, n) != 0) ++wrong;
                if (x.read() != std::vector<int>(n, round * 10 + t)) ++wrong;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("memory is limited, counted and given back with the context") {
    Device device(false, 1, 0, 0, 1 << 20);
    size_t free_bytes = 0, total = 0;
    CUdeviceptr first = 0, second = 0;
    CHECK_RESULT(0, cuMemAlloc_v2(&first, 1000000));
    CHECK(first % 256 == 0);
    CHECK_RESULT(2, cuMemAlloc_v2(&second, 100000));
    CHECK_RESULT(1, cuMemAlloc_v2(&second, 0));
    CHECK_RESULT(0, cuMemGetInfo_v2(&free_bytes, &total));
    CHECK(total == 1 << 20 && free_bytes == (1 << 20) - 1000000);
    CHECK_RESULT(1, cuMemFree_v2(first + 256));
    CHECK_RESULT(0, cuMemFree_v2(first));
    CHECK_RESULT(1, cuMemFree_v2(first));
    CHECK_RESULT(0, cuMemAlloc_v2(&first, 1 << 20));
    CHECK_RESULT(0, cuDevicePrimaryCtxReset_v2(device.ordinal()));
    CHECK_RESULT(0, cuMemGetInfo_v2(&free_bytes, &total));
    CHECK(free_bytes == total);
}
