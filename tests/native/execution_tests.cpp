// Kernels give what the same CUDA source gives on a GPU: indices, barriers, shuffles, shared memory, atomics, asynchronous copies.
#include "testing.h"

#include <cmath>
#include <cstring>

using namespace testing;

namespace {

template <class Body> void on_both_modes(Body body) {
    for (bool checked : {false, true}) {
        Device device(checked, 7);
        body(device);
    }
}

const char* const kBasics = R"(
template <class T> __global__ void __launch_bounds__(256) axpy(T a, const T* x, T* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = a * x[i] + y[i];
}
__global__ void indices(unsigned* out) {
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = threadIdx.x | threadIdx.y << 4 | threadIdx.z << 8 | blockIdx.x << 12 |
        blockIdx.y << 16 | blockIdx.z << 20;
}
template <int BLOCK> __global__ void block_sum(const float* x, float* y, int n) {
    __shared__ float partial[BLOCK];
    __shared__ alignas(16) int steps;
    int t = threadIdx.x;
    float sum = 0;
    for (int i = t; i < n; i += BLOCK) sum += x[i];
    partial[t] = sum;
    if (t == 0) steps = 0;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (t < half) partial[t] += partial[t + half];
        if (t == 0) ++steps;
        __syncthreads();
    }
    if (t == 0) { y[0] = partial[0]; y[1] = (float)steps; }
}
__global__ void reverse(const float* x, float* y, int n) {
    extern __shared__ float row[];
    for (int i = threadIdx.x; i < n; i += blockDim.x) row[i] = x[(long long)blockIdx.x * n + i];
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[(long long)blockIdx.x * n + i] = row[n - 1 - i];
}
__global__ void warp_scan(const int* x, int* y) {
    int lane = threadIdx.x & 31, value = x[threadIdx.x];
    for (int d = 1; d < 32; d *= 2) {
        int other = __shfl_up_sync(0xFFFFFFFFu, value, d);
        if (lane >= d) value += other;
    }
    y[threadIdx.x] = value;
    unsigned even = __ballot_sync(0xFFFFFFFFu, (x[threadIdx.x] & 1) == 0);
    int total = __shfl_sync(0xFFFFFFFFu, value, 31), sum = x[threadIdx.x];
    for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, d);
    if (sum != total) y[threadIdx.x] = -1;
    if (lane < 16) {
        if (__any_sync(0x0000FFFFu, lane == 3) == 0) y[threadIdx.x] = -2;
    } else {
        if (__all_sync(0xFFFF0000u, lane > 15) == 0) y[threadIdx.x] = -3;
    }
    if (lane == 0) y[blockDim.x + threadIdx.x / 32] = (int)even;
}
__global__ void count(const int* x, int* bins, float* sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicAdd(&bins[x[i]], 1);
    atomicMax(&bins[16], i);
    atomicAdd(sum, 0.5f);
}
__global__ void early_exit_then_barrier_free(float* y, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    y[i] = 1.0f;
}
__global__ void staged(const float* x, float* y) {
    __shared__ alignas(16) float tile[2][128];
    int t = threadIdx.x;
    emu::async_copy(&tile[0][t * 4], x + t * 4, 16, 16);
    emu::async_commit();
    emu::async_copy(&tile[1][t * 4], x + 128 + t * 4, 16, 8);
    emu::async_commit();
    emu::async_wait(1);
    __syncthreads();
    for (int i = 0; i < 4; ++i) y[t * 4 + i] = tile[0][127 - (t * 4 + i)];
    emu::async_wait(0);
    __syncthreads();
    for (int i = 0; i < 4; ++i) y[128 + t * 4 + i] = tile[1][t * 4 + i];
}
)";

} // namespace

TEST_CASE("a barrier-free kernel computes every element, last partial block included") {
    on_both_modes([](Device& device) {
        Kernel axpy(device, kBasics, "axpy<float>");
        for (int n : {1, 255, 256, 257, 100003}) {
            std::vector<float> x(static_cast<size_t>(n)), y(static_cast<size_t>(n));
            for (int i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i % 1000), y[static_cast<size_t>(i)] = 1.0f;
            Buffer<float> dx(x), dy(y);
            CHECK_RESULT(0, axpy.launch(nullptr, static_cast<unsigned>((n + 255) / 256), 256, 0, 2.0f, dx.address, dy.address, n));
            CHECK_RESULT(0, cuCtxSynchronize());
            std::vector<float> result = dy.read();
            int wrong = 0;
            for (int i = 0; i < n; ++i) wrong += result[static_cast<size_t>(i)] != 2.0f * static_cast<float>(i % 1000) + 1.0f;
            CHECK(wrong == 0);
        }
    });
}

TEST_CASE("threads and blocks of three dimensions have their own indices") {
    on_both_modes([](Device& device) {
        Kernel kernel(device, kBasics, "indices");
        Buffer<unsigned> out(std::vector<unsigned>(5 * 3 * 2 * 4 * 3 * 2, 0xFFFFFFFFu));
        void* parameters[] = {&out.address};
        CHECK_RESULT(0, cuLaunchKernel(kernel.function, 4, 3, 2, 5, 3, 2, 0, nullptr, parameters, nullptr));
        std::vector<unsigned> result = out.read();
        size_t at = 0;
        int wrong = 0;
        for (unsigned bz = 0; bz < 2; ++bz)
            for (unsigned by = 0; by < 3; ++by)
                for (unsigned bx = 0; bx < 4; ++bx)
                    for (unsigned z = 0; z < 2; ++z)
                        for (unsigned y = 0; y < 3; ++y)
                            for (unsigned x = 0; x < 5; ++x)
                                wrong += result[at++] != (x | y << 4 | z << 8 | bx << 12 | by << 16 | bz << 20);
        CHECK(wrong == 0);
    });
}

TEST_CASE("barriers and static shared memory, one instantiation's storage apart from another's") {
    on_both_modes([](Device& device) {
        std::vector<float> x(1000);
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
        Buffer<float> dx(x), dy(std::vector<float>{NAN, NAN});
        for (int block : {64, 256}) {
            Kernel kernel(device, kBasics, "block_sum<" + std::to_string(block) + ">");
            CHECK_RESULT(0, kernel.launch(nullptr, 1, static_cast<unsigned>(block), 0, dx.address, dy.address, 1000));
            std::vector<float> y = dy.read();
            CHECK(y[0] == 499500.0f);
            CHECK(y[1] == std::log2(static_cast<float>(block)));
            int bytes = 0;
            CHECK_RESULT(0, cuFuncGetAttribute(&bytes, 1, kernel.function));
            CHECK(bytes == block * 4 + 4);
        }
    });
}

TEST_CASE("dynamic shared memory, more blocks than workers") {
    on_both_modes([](Device& device) {
        Kernel kernel(device, kBasics, "reverse");
        const int n = 301, rows = 40;
        std::vector<float> x(n * rows);
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
        Buffer<float> dx(x), dy(std::vector<float>(x.size(), NAN));
        CHECK_RESULT(0, kernel.launch(nullptr, rows, 96, n * 4, dx.address, dy.address, n));
        std::vector<float> y = dy.read();
        int wrong = 0;
        for (int r = 0; r < rows; ++r)
            for (int i = 0; i < n; ++i) wrong += y[static_cast<size_t>(r * n + i)] != x[static_cast<size_t>(r * n + n - 1 - i)];
        CHECK(wrong == 0);
    });
}

TEST_CASE("shuffles, votes and half-warp masks") {
    on_both_modes([](Device& device) {
        Kernel kernel(device, kBasics, "warp_scan");
        std::vector<int> x(96);
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int>(i * i % 17);
        Buffer<int> dx(x), dy(std::vector<int>(99, -9));
        CHECK_RESULT(0, kernel.launch(nullptr, 1, 96, 0, dx.address, dy.address));
        std::vector<int> y = dy.read();
        int wrong = 0;
        for (size_t w = 0; w < 3; ++w) {
            int sum = 0;
            unsigned even = 0;
            for (size_t lane = 0; lane < 32; ++lane) {
                sum += x[w * 32 + lane];
                even |= static_cast<unsigned>(x[w * 32 + lane] % 2 == 0) << lane;
                wrong += y[w * 32 + lane] != sum;
            }
            wrong += static_cast<unsigned>(y[96 + w]) != even;
        }
        CHECK(wrong == 0);
    });
}

TEST_CASE("atomics of all blocks add up") {
    on_both_modes([](Device& device) {
        Kernel kernel(device, kBasics, "count");
        const int n = 50021;
        std::vector<int> x(n), expected(17, 0);
        for (int i = 0; i < n; ++i) ++expected[static_cast<size_t>(x[static_cast<size_t>(i)] = i * 7 % 16)];
        expected[16] = n - 1;
        Buffer<int> dx(x), bins(std::vector<int>(17, 0));
        Buffer<float> sum(std::vector<float>{0.0f});
        CHECK_RESULT(0, kernel.launch(nullptr, (n + 127) / 128, 128, 0, dx.address, bins.address, sum.address, n));
        CHECK(bins.read() == expected);
        CHECK(sum.read()[0] == 0.5f * n);
    });
}

TEST_CASE("asynchronous copies land at the wait and zero-fill the rest") {
    on_both_modes([](Device& device) {
        Kernel kernel(device, kBasics, "staged");
        std::vector<float> x(256);
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
        Buffer<float> dx(x), dy(std::vector<float>(256, NAN));
        CHECK_RESULT(0, kernel.launch(nullptr, 1, 32, 0, dx.address, dy.address));
        std::vector<float> y = dy.read();
        int wrong = 0;
        for (size_t i = 0; i < 128; ++i) wrong += y[i] != x[127 - i];
        for (size_t i = 0; i < 128; ++i) wrong += y[128 + i] != (i % 4 < 2 ? x[128 + i] : 0.0f);
        CHECK(wrong == 0);
    });
}
