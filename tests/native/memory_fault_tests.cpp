// Plants faults of memory accesses in kernels, and sees each one caught, with its place.
#include "planted_faults.h"

using namespace testing;

namespace {

const Program program(R"cuda(
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
    x[i] = before + 1.0f;
}
)cuda");

std::vector<float> counting(size_t n) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
    return values;
}

using LL = long long;

TEST_CASE("good accesses pass") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(1000));
    const auto y = device.allocate<float>(1000);
    CHECK_SUCCESS(device.run("copy", {16}, y, x, LL{1000}, LL{0}));
    CHECK(device.download<float>(y, 1000) == counting(1000));
    CHECK_SUCCESS(device.run("copy_four", {}, y, x, 0));
    CHECK_SUCCESS(device.run("static_shared", {}, y, 47, 47));
    CHECK_SUCCESS(device.run("dynamic_shared", {2, 64, 256}, y, 64, 63));
    CHECK_SUCCESS(device.run("misaligned_shared", {}, y, 8));
    CHECK_SUCCESS(device.run("asynchronous", {}, y, x, 1, 1));
    CHECK_SUCCESS(device.run("local_array", {}, y, 3));
    CHECK_SUCCESS(device.run("block_copy", {1, 1}, y, x, LL{1000}));
}

TEST_CASE("read past the end") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(1000));
    const auto y = device.allocate<float>(1001);
    CHECK_FAULT(kIllegalAddress, ({"kernel copy", "block (15, 0, 0)", "thread (40, 0, 0)", program.line("copy_read"),
                "invalid read of 4 bytes", "just past the end of an allocation of 4000 bytes"}),
                device.run("copy", {16}, y, x, LL{1001}, LL{0}));
}

TEST_CASE("write past the end") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(1001));
    const auto y = device.allocate<float>(1000);
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_write"), "invalid write of 4 bytes",
                "just past the end of an allocation of 4000 bytes"}),
                device.run("copy", {16}, y, x, LL{1001}, LL{0}));
}

TEST_CASE("read before the start") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_read"), "bytes before the start of an allocation of 256 bytes"}),
                device.run("copy", {}, y, x, LL{64}, LL{-64}));
}

TEST_CASE("read between allocations") {
    const CheckedDevice device(program);
    const auto first = device.upload(counting(64));
    const auto second = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    const LL between = (static_cast<LL>(second) - static_cast<LL>(first)) / 8;   // in floats, half the way
    CHECK_FAULT(kIllegalAddress, ({"invalid read of 4 bytes", "bytes past the end of an allocation of 256 bytes"}),
                device.run("copy", {}, y, first, LL{64}, between));
}

TEST_CASE("vector across the end") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(254));
    const auto y = device.allocate<float>(256);
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_four"), "thread (63, 0, 0)", "invalid read of 16 bytes",
                "the last 8 bytes past the end of an allocation of 1016 bytes"}),
                device.run("copy_four", {}, y, x, 0));
}

TEST_CASE("use after free") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    MUST(cuMemFree_v2(x));
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_read"), "an allocation of 256 bytes that was freed"}),
                device.run("copy", {}, y, x, LL{64}, LL{0}));
}

TEST_CASE("addresses are not used again") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(64));
    MUST(cuMemFree_v2(x));
    const auto z = device.upload(counting(64));
    const auto y = device.allocate<float>(64);
    CHECK(z != x);
    CHECK_FAULT(kIllegalAddress, ({"that was freed"}),
                device.run("copy", {}, y, x, LL{64}, LL{0}));
}

TEST_CASE("memory of another device") {
    const CheckedDevice other(program);
    const auto x = other.upload(counting(64));
    const auto fresh = other.allocate<float>(64);
    const CheckedDevice device(program);
    CHECK_FAULT(kIllegalAddress, ({"invalid write of 4 bytes", "of another device"}),
                device.run("copy", {}, fresh, x, LL{64}, LL{0}));
}

TEST_CASE("host memory") {
    const CheckedDevice device(program);
    std::vector<float> x(64);
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_read"), "not device memory"}),
                device.run("copy", {}, y, reinterpret_cast<CUdeviceptr>(x.data()), LL{64}, LL{0}));
}

TEST_CASE("null pointer") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({program.line("copy_read"), "at 0x"}),
                device.run("copy", {}, y, CUdeviceptr{0}, LL{64}, LL{0}));
}

TEST_CASE("pinned memory is allowed") {
    const CheckedDevice device(program);
    void* x = nullptr;
    MUST(cuMemHostAlloc(&x, 64 * sizeof(float), 0));
    for (int i = 0; i < 64; ++i) static_cast<float*>(x)[i] = static_cast<float>(i);
    const auto y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("copy", {}, y, reinterpret_cast<CUdeviceptr>(x), LL{64}, LL{0}));
    CHECK(device.download<float>(y, 64) == counting(64));
    MUST(cuMemFreeHost(x));
}

TEST_CASE("memory nobody wrote") {
    const CheckedDevice device(program);
    const auto x = device.allocate<float>(64);
    const auto y = device.allocate<float>(64);
    MUST(cuMemcpyHtoD_v2(x, counting(40).data(), 40 * sizeof(float)));
    CHECK_SUCCESS(device.run("copy", {}, y, x, LL{40}, LL{0}));
    CHECK_FAULT(kLaunchFailed, ({program.line("copy_read"), "uninitialised read of 4 bytes", "of an allocation of 256 bytes",
                "nobody wrote byte "}),
                device.run("copy", {}, y, x, LL{64}, LL{0}));
}

TEST_CASE("partly written vector") {
    const CheckedDevice device(program);
    const auto x = device.allocate<float>(256);
    const auto y = device.allocate<float>(256);
    MUST(cuMemcpyHtoD_v2(x, counting(255).data(), 255 * sizeof(float)));
    CHECK_FAULT(kLaunchFailed, ({program.line("copy_four"), "thread (63, 0, 0)", "uninitialised read of 16 bytes",
                "nobody wrote byte 1020"}),
                device.run("copy_four", {}, y, x, 0));
}

TEST_CASE("copies carry what was written") {
    const CheckedDevice device(program);
    const auto x = device.allocate<float>(64), z = device.allocate<float>(64), y = device.allocate<float>(64);
    MUST(cuMemcpyHtoD_v2(x, counting(40).data(), 40 * sizeof(float)));
    MUST(cuMemcpyDtoD_v2(z, x, 64 * sizeof(float)));
    CHECK_SUCCESS(device.run("copy", {}, y, z, LL{40}, LL{0}));
    CHECK_FAULT(kLaunchFailed, ({"uninitialised read"}),
                device.run("copy", {}, y, z, LL{41}, LL{0}));
}

TEST_CASE("fresh memory is poisoned") {
    const CheckedDevice device(program);
    const size_t sizes[] = {1, 1000, 100 * 1000, 6 * 1000 * 1000};
    for (const size_t size : sizes) {
        const auto x = device.allocate<unsigned>(size);
        const auto values = device.download<unsigned>(x, size);
        size_t poisoned = 0;
        for (const unsigned value : values) poisoned += value == 0xFFFFFFFFu;
        CHECK(poisoned == size);
    }
}

TEST_CASE("sparse allocation costs only what is touched") {
    const CheckedDevice device(program);
    const LL elements = (LL{1} << 31) + 1000;
    const auto x = device.allocate<float>(static_cast<size_t>(elements));
    const float one = 1.0f;
    MUST(cuMemcpyHtoD_v2(x + static_cast<CUdeviceptr>(elements - 1) * 4, &one, 4));
    CHECK_SUCCESS(device.run("far", {1, 1}, x, elements - 1));
    CHECK_FAULT(kLaunchFailed, ({program.line("far"), "uninitialised read"}),
                device.run("far", {1, 1}, x, elements - 2));
    long pages = 0;
    FILE* status = fopen("/proc/self/statm", "r");
    CHECK(status != nullptr && fscanf(status, "%*d %ld", &pages) == 1);
    fclose(status);
    CHECK(pages * 4096 < (1L << 30));
}

TEST_CASE("atomic outside") {
    const CheckedDevice device(program);
    const auto y = device.upload(std::vector<int>(10));
    CHECK_SUCCESS(device.run("add", {}, y, 9));
    CHECK_FAULT(kIllegalAddress, ({"invalid atomic operation on 4 bytes", "just past the end of an allocation of 40 bytes"}),
                device.run("add", {}, y, 10));
}

TEST_CASE("block copy outside") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(64));
    const auto y = device.allocate<float>(60);
    CHECK_FAULT(kIllegalAddress, ({program.line("block_copy"), "invalid write of 256 bytes", "the last 16 bytes past the end"}),
                device.run("block_copy", {1, 1}, y, x, LL{64}));
}

TEST_CASE("misaligned vector") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(300));
    const auto y = device.allocate<float>(256);
    CHECK_FAULT(kMisalignedAddress, ({program.line("copy_four"), "misaligned read of 16 bytes"}),
                device.run("copy_four", {}, y, x, 1));
}

TEST_CASE("misaligned scalar") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(65));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kMisalignedAddress, ({program.line("copy_read"), "misaligned read of 4 bytes"}),
                device.run("copy", {}, y, x + 2, LL{64}, LL{0}));
}

TEST_CASE("misaligned shared") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kMisalignedAddress, ({program.line("misaligned_shared"), "misaligned read of 16 bytes", "'tile'"}),
                device.run("misaligned_shared", {}, y, 2));
}

TEST_CASE("static array overrun") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(1);
    CHECK_FAULT(kIllegalAddress, ({program.line("static_write"), "thread (5, 0, 0)", "invalid write of 4 bytes",
                "just past the end of shared array 'first' of 192 bytes"}),
                device.run("static_shared", {}, y, 0, 48));
}

TEST_CASE("static array underrun") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(1);
    CHECK_FAULT(kIllegalAddress, ({program.line("static_read"), "invalid read of 4 bytes",
                "4 bytes before the start of shared array 'second'"}),
                device.run("static_shared", {}, y, -1, 0));
}

TEST_CASE("dynamic overrun") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(1);
    CHECK_FAULT(kIllegalAddress, ({program.line("dynamic_read"), "just past the end of shared array", "of 256 bytes"}),
                device.run("dynamic_shared", {1, 64, 256}, y, 64, 64));
}

TEST_CASE("uninitialised shared") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(1);
    CHECK_FAULT(kLaunchFailed, ({program.line("dynamic_read"), "uninitialised read of 4 bytes", "byte 252 of shared array"}),
                device.run("dynamic_shared", {1, 64, 256}, y, 63, 63));
}

TEST_CASE("shared memory of the last block") {
    const CheckedDevice device(program, 1, 0, 1);
    const auto y = device.allocate<float>(128);
    CHECK_FAULT(kLaunchFailed, ({program.line("left_over"), "block (1, 0, 0)", "uninitialised read"}),
                device.run("left_over", {2}, y));
}

TEST_CASE("copy not waited for") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(256));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kLaunchFailed, ({program.line("async_read"), "'tile'", "has not been waited for"}),
                device.run("asynchronous", {}, y, x, 0, 1));
}

TEST_CASE("copy waited for without a barrier") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(256));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kLaunchFailed, ({program.line("async_read")}),
                device.run("asynchronous", {}, y, x, 1, 0));
}

TEST_CASE("copy from outside") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(252));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({program.line("async_issue"), "thread (63, 0, 0)", "just past the end of an allocation of 1008 bytes"}),
                device.run("asynchronous", {}, y, x, 1, 1));
}

TEST_CASE("copy misaligned") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(260));
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kMisalignedAddress, ({program.line("async_issue")}),
                device.run("asynchronous", {}, y, x + 4, 1, 1));
}

TEST_CASE("host copy outside") {
    const CheckedDevice device(program);
    const auto x = device.upload(counting(64));
    std::vector<float> values(65);
    CHECK_RESULT(kIllegalAddress, cuMemcpyDtoH_v2(values.data(), x, 65 * sizeof(float)));
    CHECK_CONTAINS(last_fault(), "the last 4 bytes past the end of an allocation of 256 bytes");
}

} // namespace
