// Plants missing barriers, divergent ones, and results that depend on the order of threads and blocks.
#include "check_support.h"

#include <set>

using namespace check_test;

namespace {

Source source("order_faults.cu", R"cuda(
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

void missing_barrier_after_writing() {
    Device device(source);
    const auto x = device.upload(values(128));
    const auto y = device.allocate<float>(128);
    device.expect_success("reverse", {1, 128}, y, x, 1);
    // Whichever comes first: a read of what nobody has written yet, or of what another thread wrote without a barrier.
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"kernel reverse", "'tile'"}, "reverse", {1, 128}, y, x, 0);
}

void missing_barrier_before_overwriting() {
    Device device(source);
    const auto x = device.upload(values(128));
    const auto y = device.allocate<float>(128);
    device.expect_success("rounds", {1, 128}, y, x, 1);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"race:", "'tile'", "with no barrier between them"}, "rounds", {1, 128}, y, x, 0);
}

void missing_meeting_of_a_warp() {
    Device device(source);
    const auto x = device.upload(values(64));
    const auto y = device.allocate<float>(64);
    device.expect_success("neighbour", {}, y, x, 1);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("neighbour_read"), "'tile'"}, "neighbour", {}, y, x, 0);
}

void shared_update_without_atomic() {
    Device device(source);
    const auto y = device.allocate<int>(64);
    device.expect_success("shared_sum", {}, y, 1);
    EXPECT(device.download<int>(y, 64) == std::vector<int>(64, 64));
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("shared_sum"), "race:", "'sum'"}, "shared_sum", {}, y, 0);
}

void barrier_for_some_threads() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    device.expect_success("some_at_the_barrier", {}, y, 64);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"kernel some_at_the_barrier", "divergent barrier", source.line("some_at_the_barrier")}, "some_at_the_barrier",
                        {}, y, 16);
}

void different_barriers() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    device.expect_success("two_barriers", {}, y, 0);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"divergent barrier", source.line("first_barrier"), source.line("second_barrier")}, "two_barriers", {}, y, 32);
}

void warp_operation_for_some_lanes() {
    Device device(source);
    const auto y = device.allocate<int>(32);
    device.expect_success("some_lanes", {1, 32}, y, 32);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"divergent warp operation", source.line("some_lanes")}, "some_lanes", {1, 32}, y, 16);
}

void different_warp_operations() {
    Device device(source);
    const auto y = device.allocate<int>(32);
    device.expect_success("two_operations", {1, 32}, y, 32);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"divergent warp operation", source.line("xor_operation"), source.line("down_operation")}, "two_operations",
                        {1, 32}, y, 16);
}

void lane_outside_its_mask() {
    Device device(source);
    const auto y = device.allocate<int>(32);
    device.expect_success("not_in_the_mask", {1, 32}, y, 0xFFFFFFFFu);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("not_in_the_mask"), "mask"}, "not_in_the_mask", {1, 32}, y, 0x0000FFFFu);
}

void barrier_meets_warp_operation() {
    Device device(source);
    const auto y = device.allocate<int>(32);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"kernel barrier_against_warp", "divergent"}, "barrier_against_warp", {1, 32}, y, 16);
}

// The distinct results of a kernel over several seeds.
template <class Run> size_t distinct_results(Run run) {
    std::set<std::vector<float>> results;
    for (uint64_t seed = 1; seed <= 8; ++seed) {
        Device device(source, {0, false, seed, 2});
        results.insert(run(device));
    }
    return results.size();
}

void result_depends_on_block_order() {
    EXPECT(distinct_results([](Device& device) {
               const auto y = device.allocate<float>(1);
               device.expect_success("last_block", {16}, y);
               return device.download<float>(y, 1);
           }) > 1);
}

void result_depends_on_thread_order() {
    EXPECT(distinct_results([](Device& device) {
               const auto y = device.allocate<float>(1);
               device.expect_success("last_thread", {1, 64}, y);
               return device.download<float>(y, 1);
           }) > 1);
}

void sum_depends_on_order() {
    const auto run = [](const char* name) {
        return distinct_results([name](Device& device) {
            const auto x = device.upload(values(512));
            const auto y = device.upload(std::vector<float>(1));
            if (strcmp(name, "unordered_sum") == 0) device.expect_success(name, {8}, y, x);
            else device.expect_success(name, {8}, y, x, 512);
            return device.download<float>(y, 1);
        });
    };
    EXPECT(run("unordered_sum") > 1);
    EXPECT(run("fixed_order_sum") == 1);
}

} // namespace

int main(int count, char** arguments) {
#define TEST(name) {#name, name}
    return run_tests({TEST(missing_barrier_after_writing), TEST(missing_barrier_before_overwriting), TEST(missing_meeting_of_a_warp),
                      TEST(shared_update_without_atomic), TEST(barrier_for_some_threads), TEST(different_barriers), TEST(warp_operation_for_some_lanes),
                      TEST(different_warp_operations), TEST(lane_outside_its_mask), TEST(barrier_meets_warp_operation), TEST(result_depends_on_block_order),
                      TEST(result_depends_on_thread_order), TEST(sum_depends_on_order)},
                     count, arguments);
}
