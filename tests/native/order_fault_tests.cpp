// Plants missing barriers, divergent ones, and results that depend on the order of threads and blocks.
#include "planted_faults.h"

#include <cstring>
#include <set>

using namespace testing;

namespace {

const Program program(R"cuda(
extern "C" __global__ void reverse(float* y, const float* x, int barrier) {
    __shared__ float tile[128];
    int t = threadIdx.x;
    tile[t] = x[t]; // @reverse_write
    if (barrier) __syncthreads();
    y[t] = tile[127 - t]; // @reverse_read
}

// The tile is filled again while others may still read its last contents.
extern "C" __global__ void rounds(float* y, const float* x, int barrier) {
    __shared__ float tile[128];
    int t = threadIdx.x;
    float sum = 0.0f;
    for (int round = 0; round < 3; ++round) {
        tile[t] = x[t] + (float)round; // @rounds_write
        __syncthreads();
        sum += tile[(t + 32) % 128]; // @rounds_read
        if (barrier) __syncthreads();
    }
    y[t] = sum;
}

extern "C" __global__ void neighbour(float* y, const float* x, int meet) {
    __shared__ float tile[64];
    int t = threadIdx.x;
    tile[t] = x[t];
    if (meet) __syncwarp();
    y[t] = tile[t ^ 1]; // @neighbour_read
}

// So many meetings of two lanes that the checker's clock runs out in between.
extern "C" __global__ void long_block(float* y, int meetings, int meet_at_the_end) {
    __shared__ float early[2];
    __shared__ float late[2];
    int t = threadIdx.x;
    early[t] = (float)t;
    for (int i = 0; i < meetings; ++i) __syncwarp();
    late[t] = early[1 - t];
    if (meet_at_the_end) __syncwarp();
    y[t] = late[1 - t]; // @long_block_read
}

extern "C" __global__ void shared_sum(int* y, int atomic) {
    __shared__ int sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    if (atomic) atomicAdd(&sum, 1);
    else sum = sum + 1; // @shared_sum
    __syncthreads();
    y[threadIdx.x] = sum;
}

extern "C" __global__ void some_at_the_barrier(float* y, int limit) {
    if ((int)threadIdx.x < limit) __syncthreads(); // @some_at_the_barrier
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void two_barriers(float* y, int limit) {
    if ((int)threadIdx.x < limit) {
        __syncthreads(); // @first_barrier
    } else {
        __syncthreads(); // @second_barrier
    }
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void some_lanes(int* y, int limit) {
    int value = threadIdx.x;
    if ((int)threadIdx.x < limit) value = __shfl_xor_sync(0xFFFFFFFFu, value, 1); // @some_lanes
    y[threadIdx.x] = value;
}

extern "C" __global__ void two_operations(int* y, int limit) {
    int value = threadIdx.x;
    if ((int)threadIdx.x < limit) value = __shfl_xor_sync(0xFFFFFFFFu, value, 1); // @xor_operation
    else value = __shfl_down_sync(0xFFFFFFFFu, value, 1); // @down_operation
    y[threadIdx.x] = value;
}

extern "C" __global__ void not_in_the_mask(int* y, unsigned mask) {
    y[threadIdx.x] = __shfl_xor_sync(mask, (int)threadIdx.x, 1); // @not_in_the_mask
}

extern "C" __global__ void barrier_against_warp(int* y, int limit) {
    int value = threadIdx.x;
    if ((int)threadIdx.x < limit) __syncthreads();
    else value = __shfl_xor_sync(0xFFFFFFFFu, value, 1);
    y[threadIdx.x] = value;
}

extern "C" __global__ void last_block(int* y) {
    if (threadIdx.x == 0) y[0] = blockIdx.x;
}

extern "C" __global__ void last_thread(int* y) {
    y[0] = threadIdx.x;
}

extern "C" __global__ void unordered_sum(float* y, const float* x) {
    atomicAdd(y, x[blockIdx.x * blockDim.x + threadIdx.x]);
}

extern "C" __global__ void fixed_order_sum(float* y, const float* x, int n) {
    if (threadIdx.x != 0 || blockIdx.x != 0) return;
    float sum = 0.0f;
    for (int i = 0; i < n; ++i) sum += x[i];
    y[0] = sum;
}
)cuda");

std::vector<float> values(size_t n) {
    std::vector<float> result(n);
    unsigned state = 12345;
    for (float& value : result) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(static_cast<int>(state >> 8) - (1 << 23)) / 65536.0f;
    }
    return result;
}

TEST_CASE("missing barrier after writing") {
    const CheckedDevice device(program);
    const auto x = device.upload(values(128));
    const auto y = device.allocate<float>(128);
    CHECK_SUCCESS(device.run("reverse", {1, 128}, y, x, 1));
    // Whichever comes first: a read of what nobody has written yet, or of what another thread wrote without a barrier.
    CHECK_FAULT(kLaunchFailed, ({"kernel reverse", "'tile'"}),
                device.run("reverse", {1, 128}, y, x, 0));
}

TEST_CASE("missing barrier before overwriting") {
    const CheckedDevice device(program);
    const auto x = device.upload(values(128));
    const auto y = device.allocate<float>(128);
    CHECK_SUCCESS(device.run("rounds", {1, 128}, y, x, 1));
    CHECK_FAULT(kLaunchFailed, ({"race:", "'tile'", "with no barrier between them"}),
                device.run("rounds", {1, 128}, y, x, 0));
}

TEST_CASE("missing meeting of a warp") {
    const CheckedDevice device(program);
    const auto x = device.upload(values(64));
    const auto y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("neighbour", {}, y, x, 1));
    CHECK_FAULT(kLaunchFailed, ({program.line("neighbour_read"), "'tile'"}),
                device.run("neighbour", {}, y, x, 0));
}

TEST_CASE("a block that synchronises more often than the clock can count") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(2);
    CHECK_SUCCESS(device.run("long_block", {1, 2}, y, 1200000, 1));
    CHECK(device.download<float>(y, 2) == std::vector<float>({0.0f, 1.0f}));
    CHECK_FAULT(kLaunchFailed, ({program.line("long_block_read"), "'late'"}), device.run("long_block", {1, 2}, y, 1200000, 0));
}

TEST_CASE("shared update without atomic") {
    const CheckedDevice device(program);
    const auto y = device.allocate<int>(64);
    CHECK_SUCCESS(device.run("shared_sum", {}, y, 1));
    CHECK(device.download<int>(y, 64) == std::vector<int>(64, 64));
    CHECK_FAULT(kLaunchFailed, ({program.line("shared_sum"), "race:", "'sum'"}),
                device.run("shared_sum", {}, y, 0));
}

TEST_CASE("barrier for some threads") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("some_at_the_barrier", {}, y, 64));
    CHECK_FAULT(kLaunchFailed, ({"kernel some_at_the_barrier", "divergent barrier", program.line("some_at_the_barrier")}),
                device.run("some_at_the_barrier", {}, y, 16));
}

TEST_CASE("different barriers") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("two_barriers", {}, y, 0));
    CHECK_FAULT(kLaunchFailed, ({"divergent barrier", program.line("first_barrier"), program.line("second_barrier")}),
                device.run("two_barriers", {}, y, 32));
}

TEST_CASE("warp operation for some lanes") {
    const CheckedDevice device(program);
    const auto y = device.allocate<int>(32);
    CHECK_SUCCESS(device.run("some_lanes", {1, 32}, y, 32));
    CHECK_FAULT(kLaunchFailed, ({"divergent warp operation", program.line("some_lanes")}),
                device.run("some_lanes", {1, 32}, y, 16));
}

TEST_CASE("different warp operations") {
    const CheckedDevice device(program);
    const auto y = device.allocate<int>(32);
    CHECK_SUCCESS(device.run("two_operations", {1, 32}, y, 32));
    CHECK_FAULT(kLaunchFailed, ({"divergent warp operation", program.line("xor_operation"), program.line("down_operation")}),
                device.run("two_operations", {1, 32}, y, 16));
}

TEST_CASE("lane outside its mask") {
    const CheckedDevice device(program);
    const auto y = device.allocate<int>(32);
    CHECK_SUCCESS(device.run("not_in_the_mask", {1, 32}, y, 0xFFFFFFFFu));
    CHECK_FAULT(kLaunchFailed, ({program.line("not_in_the_mask"), "mask"}),
                device.run("not_in_the_mask", {1, 32}, y, 0x0000FFFFu));
}

TEST_CASE("barrier meets warp operation") {
    const CheckedDevice device(program);
    const auto y = device.allocate<int>(32);
    CHECK_FAULT(kLaunchFailed, ({"kernel barrier_against_warp", "divergent"}),
                device.run("barrier_against_warp", {1, 32}, y, 16));
}

// The distinct results of a kernel over several seeds.
template <class Run> size_t distinct_results(Run run) {
    std::set<std::vector<float>> results;
    for (uint64_t seed = 1; seed <= 8; ++seed) {
        const CheckedDevice device(program, seed);
        results.insert(run(device));
    }
    return results.size();
}

TEST_CASE("result depends on block order") {
    CHECK(distinct_results([](const CheckedDevice& device) {
               const auto y = device.allocate<float>(1);
               CHECK_SUCCESS(device.run("last_block", {16}, y));
               return device.download<float>(y, 1);
           }) > 1);
}

TEST_CASE("result depends on thread order") {
    CHECK(distinct_results([](const CheckedDevice& device) {
               const auto y = device.allocate<float>(1);
               CHECK_SUCCESS(device.run("last_thread", {1, 64}, y));
               return device.download<float>(y, 1);
           }) > 1);
}

TEST_CASE("sum depends on order") {
    const auto run = [](const char* name) {
        return distinct_results([name](const CheckedDevice& device) {
            const auto x = device.upload(values(512));
            const auto y = device.upload(std::vector<float>(1));
            if (strcmp(name, "unordered_sum") == 0) CHECK_SUCCESS(device.run(name, {8}, y, x));
            else CHECK_SUCCESS(device.run(name, {8}, y, x, 512));
            return device.download<float>(y, 1);
        });
    };
    CHECK(run("unordered_sum") > 1);
    CHECK(run("fixed_order_sum") == 1);
}

} // namespace
