// Plants mistakes of the host: orders that the interface does not promise, illegal calls, limits. Checked mode must let them show.
#include "planted_faults.h"

#include <memory>
#include <thread>

using namespace testing;

namespace {

const Program program(R"cuda(
extern "C" __global__ void fill(float* y, float value, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = value;
}

extern "C" __global__ void copy(float* y, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}

extern "C" __global__ void use_dynamic(float* y) {
    extern __shared__ float storage[];
    storage[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = storage[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(64) bounded(float* y) {
    y[threadIdx.x] = 1.0f;
}
)cuda");

constexpr int kMaxDynamicSharedSize = 8;   // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
constexpr unsigned kNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;
constexpr int kSeeds = 16;

CUstream new_stream() {
    CUstream stream;
    MUST(cuStreamCreate(&stream, kNonBlocking));
    return stream;
}

template <class T> std::shared_ptr<T> pinned(size_t count) {
    void* memory = nullptr;
    MUST(cuMemHostAlloc(&memory, count * sizeof(T), 0));
    return std::shared_ptr<T>(static_cast<T*>(memory), [](T* at) { cuMemFreeHost(at); });
}

TEST_CASE("reading before the work is done") {
    const CheckedDevice device(program);
    const CUstream stream = new_stream();
    const auto y = device.upload(std::vector<float>(64, 1.0f));
    const auto host = pinned<float>(64);
    for (int i = 0; i < 64; ++i) host.get()[i] = -1.0f;
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    MUST(cuMemcpyDtoHAsync_v2(host.get(), y, 64 * sizeof(float), stream));
    CHECK(host.get()[0] == -1.0f && host.get()[63] == -1.0f);
    MUST(cuStreamSynchronize(stream));
    CHECK(host.get()[0] == 2.0f && host.get()[63] == 2.0f);
}

TEST_CASE("staging buffer used again too early") {
    const CheckedDevice device(program);
    const CUstream stream = new_stream();
    const auto x = device.allocate<float>(64);
    const auto staging = pinned<float>(64);
    for (int i = 0; i < 64; ++i) staging.get()[i] = 1.0f;
    MUST(cuMemcpyHtoDAsync_v2(x, staging.get(), 64 * sizeof(float), stream));
    for (int i = 0; i < 64; ++i) staging.get()[i] = 2.0f;
    MUST(cuStreamSynchronize(stream));
    CHECK(device.download<float>(x, 64) == std::vector<float>(64, 2.0f));
}

// One stream writes, another reads. Returns how many seeds saw anything but what was written.
int wrong_orders(bool with_event) {
    int wrong = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const CheckedDevice device(program, seed);
        const CUstream writer = new_stream(), reader = new_stream();
        const auto x = device.upload(std::vector<float>(64, 1.0f));
        const auto y = device.allocate<float>(64);
        MUST(device.launch("fill", {1, 64, 0, writer}, x, 2.0f, 64));
        if (with_event) {
            CUevent written;
            MUST(cuEventCreate(&written, 2));
            MUST(cuEventRecord(written, writer));
            MUST(cuStreamWaitEvent(reader, written, 0));
            MUST(cuEventDestroy_v2(written));
        }
        MUST(device.launch("copy", {1, 64, 0, reader}, y, x, 64));
        MUST(cuCtxSynchronize());
        wrong += device.download<float>(y, 64) != std::vector<float>(64, 2.0f);
    }
    return wrong;
}

TEST_CASE("streams without an event") {
    CHECK(wrong_orders(false) > 0);
    CHECK(wrong_orders(false) < kSeeds);
    CHECK(wrong_orders(true) == 0);
}

// The memory is freed on one stream while another still has work queued on it. Returns how many seeds faulted.
int faults_of_early_free(bool same_stream) {
    int faults = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const CheckedDevice device(program, seed);
        const CUstream user = new_stream(), other = new_stream();
        const auto x = device.allocate<float>(64);
        MUST(device.launch("fill", {1, 64, 0, user}, x, 2.0f, 64));
        MUST(cuMemFreeAsync(x, same_stream ? user : other));
        const CUresult result = cuCtxSynchronize();
        if (result == kSuccess) continue;
        ++faults;
        CHECK_RESULT(kIllegalAddress, result);
        CHECK_CONTAINS(last_fault(), "an allocation of 256 bytes that was freed");
    }
    return faults;
}

TEST_CASE("free while work is queued") {
    CHECK(faults_of_early_free(false) > 0);
    CHECK(faults_of_early_free(true) == 0);
}

TEST_CASE("no current context") {
    const CheckedDevice device(program);
    const CUfunction fill = device.kernel("fill");
    std::thread([&] {
        CUdeviceptr address;
        CHECK_RESULT(kInvalidContext, cuMemAlloc_v2(&address, 16));
        CHECK_RESULT(kInvalidContext, cuCtxSynchronize());
        float value = 0;
        int n = 0;
        void* parameters[] = {&address, &value, &n};
        CHECK_RESULT(kInvalidContext, cuLaunchKernel(fill, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    }).join();
}

TEST_CASE("illegal call during capture") {
    const CheckedDevice device(program);
    const CUstream stream = new_stream();
    const auto y = device.allocate<float>(64);
    CUgraph graph;
    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    MUST(cuStreamEndCapture(stream, &graph));

    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    CHECK_RESULT(kCaptureUnsupported, cuStreamSynchronize(stream));
    CHECK_RESULT(kCaptureInvalidated, device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    CHECK_RESULT(kCaptureInvalidated, cuStreamEndCapture(stream, &graph));
    CHECK_RESULT(kSuccess, cuStreamSynchronize(stream));

    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    CUdeviceptr address;
    CHECK_RESULT(kCaptureUnsupported, cuMemAlloc_v2(&address, 16));
    CHECK_RESULT(kCaptureInvalidated, cuStreamEndCapture(stream, &graph));
}

CUresult launch_grid(const CheckedDevice& device, unsigned x, unsigned y, unsigned z) {
    CUdeviceptr address = device.allocate<float>(1);
    float value = 0;
    int n = 0;
    void* parameters[] = {&address, &value, &n};
    return cuLaunchKernel(device.kernel("fill"), x, y, z, 1, 1, 1, 0, nullptr, parameters, nullptr);
}

TEST_CASE("grids over the limit") {
    const CheckedDevice device(program);
    CHECK_RESULT(kSuccess, launch_grid(device, 1, 65535, 1));
    CHECK_RESULT(kInvalidValue, launch_grid(device, 1, 65536, 1));
    CHECK_RESULT(kInvalidValue, launch_grid(device, 1, 1, 65536));
    CHECK_RESULT(kInvalidValue, launch_grid(device, 0, 1, 1));
}

TEST_CASE("blocks over the limit") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(2048);
    CHECK_RESULT(kInvalidValue, device.launch("fill", {1, 1025}, y, 1.0f, 1));
    CHECK_RESULT(kSuccess, device.run("bounded", {1, 64}, y));
    CHECK_RESULT(kOutOfResources, device.launch("bounded", {1, 65}, y));
}

// Dynamic shared memory over 48 KB must be asked for, and the device sets the limit.
void dynamic_shared_memory_over_the_limit(int minor, unsigned limit) {
    const CheckedDevice device(program, 1, minor);
    const auto y = device.allocate<float>(64);
    CHECK_RESULT(kSuccess, device.run("use_dynamic", {1, 64, 48 * 1024}, y));
    CHECK_RESULT(kInvalidValue, device.launch("use_dynamic", {1, 64, 48 * 1024 + 4}, y));
    CHECK_RESULT(kInvalidValue, cuFuncSetAttribute(device.kernel("use_dynamic"), kMaxDynamicSharedSize, static_cast<int>(limit) + 1));
    MUST(cuFuncSetAttribute(device.kernel("use_dynamic"), kMaxDynamicSharedSize, static_cast<int>(limit)));
    CHECK_RESULT(kSuccess, device.run("use_dynamic", {1, 64, limit}, y));
    CHECK_RESULT(kInvalidValue, device.launch("use_dynamic", {1, 64, limit + 4}, y));
}

TEST_CASE("shared memory of sm 80") { dynamic_shared_memory_over_the_limit(0, 163 * 1024); }
TEST_CASE("shared memory of sm 86") { dynamic_shared_memory_over_the_limit(6, 99 * 1024); }

TEST_CASE("arguments of the wrong size") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    struct { CUdeviceptr y; float value; int n; } packed{y, 3.0f, 64};
    size_t bytes = sizeof(packed);
    void* extra[] = {reinterpret_cast<void*>(1), &packed, reinterpret_cast<void*>(2), &bytes, nullptr};
    CHECK_RESULT(kSuccess, cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra));
    CHECK(device.download<float>(y, 64) == std::vector<float>(64, 3.0f));
    bytes -= 4;
    CHECK_RESULT(kInvalidValue, cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra));
    CHECK_RESULT(kInvalidValue, cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, nullptr));
}

TEST_CASE("a fault stays") {
    const CheckedDevice device(program);
    const auto y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({"kernel fill"}),
                device.run("fill", {2}, y, 1.0f, 65));
    CUdeviceptr address;
    CHECK_RESULT(kIllegalAddress, cuMemAlloc_v2(&address, 16));
    CHECK_RESULT(kIllegalAddress, cuCtxSynchronize());
    const CheckedDevice another(program);
    const auto z = another.allocate<float>(64);
    CHECK_SUCCESS(another.run("fill", {1}, z, 1.0f, 64));
}

} // namespace
