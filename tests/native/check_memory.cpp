// Plants faults of memory accesses in kernels, and sees each one caught, with its place.
#include "check_support.h"

using namespace check_test;

namespace {

Source source("memory_faults.cu", R"cuda(
typedef unsigned long long u64;
struct alignas(16) Four { float v[4]; };

extern "C" __global__ void copy(float* y, const float* x, long long n, long long shift) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) {
        float value = x[i + shift]; // @copy_read
        y[i] = value; // @copy_write
    }
}

extern "C" __global__ void copy_four(Four* y, const float* x, int shift) {
    y[threadIdx.x] = *reinterpret_cast<const Four*>(x + shift + 4 * threadIdx.x); // @copy_four
}

extern "C" __global__ void add(int* y, int i) {
    atomicAdd(y + i, 1); // @add
}

extern "C" __global__ void block_copy(float* y, const float* x, long long n) {
    memcpy(y, x, n * sizeof(float)); // @block_copy
}

extern "C" __global__ void static_shared(float* y, int read, int write) {
    __shared__ float first[48];
    __shared__ float second[48];
    int t = threadIdx.x;
    if (t < 48) first[t] = 1.0f;
    if (t < 48) second[t] = 2.0f;
    __syncthreads();
    if (t == 5) first[write] = 3.0f; // @static_write
    __syncthreads();
    if (t == 7) y[0] = second[read]; // @static_read
}

extern "C" __global__ void dynamic_shared(float* y, int filled, int read) {
    extern __shared__ float storage[];
    int t = threadIdx.x;
    if (t < filled) storage[t] = (float)t;
    __syncthreads();
    if (t == 3) y[blockIdx.x] = storage[read]; // @dynamic_read
}

// The second block finds what the first one left, unless it is told apart.
extern "C" __global__ void left_over(float* y) {
    __shared__ float kept[64];
    int t = threadIdx.x;
    if (blockIdx.x == 0 || y == nullptr) kept[t] = 1.0f;
    __syncthreads();
    y[blockIdx.x * 64 + t] = kept[t]; // @left_over
}

extern "C" __global__ void misaligned_shared(Four* y, int shift) {
    __shared__ float tile[64];
    tile[threadIdx.x] = 0.0f;
    __syncthreads();
    if (threadIdx.x < 8) y[threadIdx.x] = *reinterpret_cast<Four*>(tile + shift + 4 * threadIdx.x); // @misaligned_shared
}

extern "C" __global__ void asynchronous(float* y, const float* x, int wait, int barrier) {
    __shared__ alignas(16) float tile[256];
    int t = threadIdx.x;
    emu::async_copy(tile + 4 * t, x + 4 * t, 16, 16); // @async_issue
    emu::async_commit();
    if (wait) emu::async_wait(0);
    if (barrier) __syncthreads();
    y[t] = tile[4 * ((t + 40) % 64)]; // @async_read
}

extern "C" __global__ void local_array(float* y, int i) {
    volatile float values[16];
    for (int j = 0; j < 16; ++j) values[j] = (float)j;
    y[threadIdx.x] = values[(threadIdx.x + i) % 16];
}

extern "C" __global__ void far(float* x, long long i) {
    float before = x[i]; // @far
    x[i] = before;
}
)cuda");

std::vector<float> counting(size_t n) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
    return values;
}

using LL = long long;

void good_accesses_pass() {
    Device device(source);
    const auto x = device.upload(counting(1000));
    const auto y = device.allocate<float>(1000);
    device.expect_success("copy", {16}, y, x, LL{1000}, LL{0});
    EXPECT(device.download<float>(y, 1000) == counting(1000));
    device.expect_success("copy_four", {}, y, x, 0);
    device.expect_success("static_shared", {}, y, 47, 47);
    device.expect_success("dynamic_shared", {2, 64, 256}, y, 64, 63);
    device.expect_success("misaligned_shared", {}, y, 8);
    device.expect_success("asynchronous", {}, y, x, 1, 1);
    device.expect_success("local_array", {}, y, 3);
    device.expect_success("block_copy", {1, 1}, y, x, LL{1000});
}

void read_past_the_end() {
    Device device(source);
    const auto x = device.upload(counting(1000));
    const auto y = device.allocate<float>(1001);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        {"kernel copy", "block (15, 0, 0)", "thread (40, 0, 0)", source.line("copy_read"), "invalid read of 4 bytes",
                         "just past the end of an allocation of 4000 bytes"},
                        "copy", {16}, y, x, LL{1001}, LL{0});
}

void write_past_the_end() {
    Device device(source);
    const auto x = device.upload(counting(1001));
    const auto y = device.allocate<float>(1000);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        {source.line("copy_write"), "invalid write of 4 bytes", "just past the end of an allocation of 4000 bytes"}, "copy", {16},
                        y, x, LL{1001}, LL{0});
}

void read_before_the_start() {
    Device device(source);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("copy_read"), "bytes before the start of an allocation of 256 bytes"}, "copy", {},
                        y, x, LL{64}, LL{-64});
}

void read_between_allocations() {
    Device device(source);
    const auto first = device.upload(counting(64));
    const auto second = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    const LL between = (static_cast<LL>(second) - static_cast<LL>(first)) / 8;   // in floats, half the way
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {"invalid read of 4 bytes", "bytes past the end of an allocation of 256 bytes"}, "copy", {}, y,
                        first, LL{64}, between);
}

void vector_across_the_end() {
    Device device(source);
    const auto x = device.upload(counting(254));
    const auto y = device.allocate<float>(256);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        {source.line("copy_four"), "thread (63, 0, 0)", "invalid read of 16 bytes", "the last 8 bytes past the end of an allocation of 1016 bytes"},
                        "copy_four", {}, y, x, 0);
}

void use_after_free() {
    Device device(source);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    MUST(cuMemFree_v2(x));
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("copy_read"), "an allocation of 256 bytes that was freed"}, "copy", {}, y, x, LL{64}, LL{0});
}

void addresses_are_not_used_again() {
    Device device(source);
    const auto x = device.upload(counting(64));
    MUST(cuMemFree_v2(x));
    const auto z = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    EXPECT(z != x);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {"that was freed"}, "copy", {}, y, x, LL{64}, LL{0});
}

void memory_of_another_device() {
    Device other(source);
    const auto x = other.upload(counting(64));
    const auto fresh = other.allocate<float>(64);
    Device device(source);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {"invalid write of 4 bytes", "of another device"}, "copy", {}, fresh, x, LL{64}, LL{0});
}

void host_memory() {
    Device device(source);
    std::vector<float> x(64);
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("copy_read"), "not device memory"}, "copy", {}, y,
                        reinterpret_cast<CUdeviceptr>(x.data()), LL{64}, LL{0});
}

void null_pointer() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("copy_read"), "at 0x"}, "copy", {}, y, CUdeviceptr{0}, LL{64}, LL{0});
}

void pinned_memory_is_allowed() {
    Device device(source);
    void* x = nullptr;
    MUST(cuMemHostAlloc(&x, 64 * sizeof(float), 0));
    for (int i = 0; i < 64; ++i) static_cast<float*>(x)[i] = static_cast<float>(i);
    const auto y = device.allocate<float>(64);
    device.expect_success("copy", {}, y, reinterpret_cast<CUdeviceptr>(x), LL{64}, LL{0});
    EXPECT(device.download<float>(y, 64) == counting(64));
    MUST(cuMemFreeHost(x));
}

void memory_nobody_wrote() {
    Device device(source);
    const auto x = device.allocate<float>(64);
    const auto y = device.allocate<float>(64);
    MUST(cuMemcpyHtoD_v2(x, counting(40).data(), 40 * sizeof(float)));
    device.expect_success("copy", {}, y, x, LL{40}, LL{0});
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("copy_read"), "uninitialised read of 4 bytes", "of an allocation of 256 bytes", "nobody wrote byte "},
                        "copy", {}, y, x, LL{64}, LL{0});
}

void partly_written_vector() {
    Device device(source);
    const auto x = device.allocate<float>(256);
    const auto y = device.allocate<float>(256);
    MUST(cuMemcpyHtoD_v2(x, counting(255).data(), 255 * sizeof(float)));
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("copy_four"), "thread (63, 0, 0)", "uninitialised read of 16 bytes", "nobody wrote byte 1020"},
                        "copy_four", {}, y, x, 0);
}

void copies_carry_what_was_written() {
    Device device(source);
    const auto x = device.allocate<float>(64), z = device.allocate<float>(64), y = device.allocate<float>(64);
    MUST(cuMemcpyHtoD_v2(x, counting(40).data(), 40 * sizeof(float)));
    MUST(cuMemcpyDtoD_v2(z, x, 64 * sizeof(float)));
    device.expect_success("copy", {}, y, z, LL{40}, LL{0});
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {"uninitialised read"}, "copy", {}, y, z, LL{41}, LL{0});
}

void fresh_memory_is_poisoned() {
    Device device(source);
    const size_t sizes[] = {1, 1000, 100 * 1000, 6 * 1000 * 1000};
    for (const size_t size : sizes) {
        const auto x = device.allocate<unsigned>(size);
        const auto values = device.download<unsigned>(x, size);
        size_t poisoned = 0;
        for (const unsigned value : values) poisoned += value == 0xFFFFFFFFu;
        EXPECT(poisoned == size);
    }
}

void sparse_allocation_costs_only_what_is_touched() {
    Device device(source);
    const LL elements = (LL{1} << 31) + 1000;
    const auto x = device.allocate<float>(static_cast<size_t>(elements));
    const float one = 1.0f;
    MUST(cuMemcpyHtoD_v2(x + static_cast<CUdeviceptr>(elements - 1) * 4, &one, 4));
    device.expect_success("far", {1, 1}, x, elements - 1);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("far"), "uninitialised read"}, "far", {1, 1}, x, elements - 2);
    long pages = 0;
    FILE* status = fopen("/proc/self/statm", "r");
    EXPECT(status != nullptr && fscanf(status, "%*ld %ld", &pages) == 1);
    fclose(status);
    EXPECT(pages * 4096 < (1L << 30));
}

void atomic_outside() {
    Device device(source);
    const auto y = device.upload(std::vector<int>(10));
    device.expect_success("add", {}, y, 9);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {"invalid atomic operation on 4 bytes", "just past the end of an allocation of 40 bytes"}, "add", {}, y, 10);
}

void block_copy_outside() {
    Device device(source);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(60);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("block_copy"), "invalid write of 256 bytes", "the last 16 bytes past the end"}, "block_copy",
                        {1, 1}, y, x, LL{64});
}

void misaligned_vector() {
    Device device(source);
    const auto x = device.upload(counting(300));
    const auto y = device.allocate<float>(256);
    device.expect_fault(CUDA_ERROR_MISALIGNED_ADDRESS, {source.line("copy_four"), "misaligned read of 16 bytes"}, "copy_four", {}, y, x, 1);
}

void misaligned_scalar() {
    Device device(source);
    const auto x = device.upload(counting(65));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_MISALIGNED_ADDRESS, {source.line("copy_read"), "misaligned read of 4 bytes"}, "copy", {}, y, x + 2, LL{64}, LL{0});
}

void misaligned_shared() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_MISALIGNED_ADDRESS, {source.line("misaligned_shared"), "misaligned read of 16 bytes", "'tile'"}, "misaligned_shared", {}, y, 2);
}

void static_array_overrun() {
    Device device(source);
    const auto y = device.allocate<float>(1);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS,
                        {source.line("static_write"), "thread (5, 0, 0)", "invalid write of 4 bytes", "just past the end of shared array 'first' of 192 bytes"},
                        "static_shared", {}, y, 0, 48);
}

void static_array_underrun() {
    Device device(source);
    const auto y = device.allocate<float>(1);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("static_read"), "invalid read of 4 bytes", "4 bytes before the start of shared array 'second'"},
                        "static_shared", {}, y, -1, 0);
}

void dynamic_overrun() {
    Device device(source);
    const auto y = device.allocate<float>(1);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("dynamic_read"), "just past the end of shared array", "of 256 bytes"}, "dynamic_shared",
                        {1, 64, 256}, y, 64, 64);
}

void uninitialised_shared() {
    Device device(source);
    const auto y = device.allocate<float>(1);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("dynamic_read"), "uninitialised read of 4 bytes", "byte 252 of shared array"}, "dynamic_shared",
                        {1, 64, 256}, y, 63, 63);
}

void shared_memory_of_the_last_block() {
    Device device(source, {0, false, 1, 1});
    const auto y = device.allocate<float>(128);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("left_over"), "block (1, 0, 0)", "uninitialised read"}, "left_over", {2}, y);
}

void copy_not_waited_for() {
    Device device(source);
    const auto x = device.upload(counting(256));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("async_read"), "'tile'", "has not been waited for"}, "asynchronous", {}, y, x, 0, 1);
}

void copy_waited_for_without_a_barrier() {
    Device device(source);
    const auto x = device.upload(counting(256));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_LAUNCH_FAILED, {source.line("async_read")}, "asynchronous", {}, y, x, 1, 0);
}

void copy_from_outside() {
    Device device(source);
    const auto x = device.upload(counting(252));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {source.line("async_issue"), "thread (63, 0, 0)", "just past the end of an allocation of 1008 bytes"},
                        "asynchronous", {}, y, x, 1, 1);
}

void copy_misaligned() {
    Device device(source);
    const auto x = device.upload(counting(260));
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_MISALIGNED_ADDRESS, {source.line("async_issue")}, "asynchronous", {}, y, x + 4, 1, 1);
}

void host_copy_outside() {
    Device device(source);
    const auto x = device.upload(counting(64));
    std::vector<float> values(65);
    EXPECT(cuMemcpyDtoH_v2(values.data(), x, 65 * sizeof(float)) == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(Device::last_fault().find("the last 4 bytes past the end of an allocation of 256 bytes") != std::string::npos);
}

} // namespace

int main(int count, char** arguments) {
#define TEST(name) {#name, name}
    return run_tests({TEST(good_accesses_pass), TEST(read_past_the_end), TEST(write_past_the_end), TEST(read_before_the_start),
                      TEST(read_between_allocations), TEST(vector_across_the_end), TEST(use_after_free), TEST(addresses_are_not_used_again),
                      TEST(memory_of_another_device), TEST(host_memory), TEST(null_pointer), TEST(pinned_memory_is_allowed), TEST(memory_nobody_wrote),
                      TEST(partly_written_vector), TEST(copies_carry_what_was_written), TEST(fresh_memory_is_poisoned),
                      TEST(sparse_allocation_costs_only_what_is_touched), TEST(atomic_outside), TEST(block_copy_outside), TEST(misaligned_vector),
                      TEST(misaligned_scalar), TEST(misaligned_shared), TEST(static_array_overrun), TEST(static_array_underrun), TEST(dynamic_overrun),
                      TEST(uninitialised_shared), TEST(shared_memory_of_the_last_block), TEST(copy_not_waited_for),
                      TEST(copy_waited_for_without_a_barrier), TEST(copy_from_outside), TEST(copy_misaligned), TEST(host_copy_outside)},
                     count, arguments);
}
