// Plants mistakes of the host: orders that the interface does not promise, illegal calls, limits. Checked mode must let them show.
#include "check_support.h"

#include <memory>
#include <thread>

using namespace check_test;

namespace {

Source source("host_faults.cu", R"cuda(
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

void reading_before_the_work_is_done() {
    Device device(source);
    const CUstream stream = new_stream();
    const auto y = device.upload(std::vector<float>(64, 1.0f));
    const auto host = pinned<float>(64);
    for (int i = 0; i < 64; ++i) host.get()[i] = -1.0f;
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    MUST(cuMemcpyDtoHAsync_v2(host.get(), y, 64 * sizeof(float), stream));
    EXPECT(host.get()[0] == -1.0f && host.get()[63] == -1.0f);
    MUST(cuStreamSynchronize(stream));
    EXPECT(host.get()[0] == 2.0f && host.get()[63] == 2.0f);
}

void staging_buffer_used_again_too_early() {
    Device device(source);
    const CUstream stream = new_stream();
    const auto x = device.allocate<float>(64);
    const auto staging = pinned<float>(64);
    for (int i = 0; i < 64; ++i) staging.get()[i] = 1.0f;
    MUST(cuMemcpyHtoDAsync_v2(x, staging.get(), 64 * sizeof(float), stream));
    for (int i = 0; i < 64; ++i) staging.get()[i] = 2.0f;
    MUST(cuStreamSynchronize(stream));
    EXPECT(device.download<float>(x, 64) == std::vector<float>(64, 2.0f));
}

// One stream writes, another reads. Returns how many seeds saw anything but what was written.
int wrong_orders(bool with_event) {
    int wrong = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        Device device(source, {0, false, seed, 2});
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

void streams_without_an_event() {
    EXPECT(wrong_orders(false) > 0);
    EXPECT(wrong_orders(false) < kSeeds);
    EXPECT(wrong_orders(true) == 0);
}

// The memory is freed on one stream while another still has work queued on it. Returns how many seeds faulted.
int faults_of_early_free(bool same_stream) {
    int faults = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        Device device(source, {0, false, seed, 2});
        const CUstream user = new_stream(), other = new_stream();
        const auto x = device.allocate<float>(64);
        MUST(device.launch("fill", {1, 64, 0, user}, x, 2.0f, 64));
        MUST(cuMemFreeAsync(x, same_stream ? user : other));
        const CUresult result = cuCtxSynchronize();
        if (result == CUDA_SUCCESS) continue;
        ++faults;
        EXPECT(result == CUDA_ERROR_ILLEGAL_ADDRESS);
        EXPECT(Device::last_fault().find("an allocation of 256 bytes that was freed") != std::string::npos);
    }
    return faults;
}

void free_while_work_is_queued() {
    EXPECT(faults_of_early_free(false) > 0);
    EXPECT(faults_of_early_free(true) == 0);
}

void no_current_context() {
    Device device(source);
    const CUfunction fill = device.kernel("fill");
    std::thread([&] {
        CUdeviceptr address;
        EXPECT(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_INVALID_CONTEXT);
        EXPECT(cuCtxSynchronize() == CUDA_ERROR_INVALID_CONTEXT);
        float value = 0;
        int n = 0;
        void* parameters[] = {&address, &value, &n};
        EXPECT(cuLaunchKernel(fill, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr) == CUDA_ERROR_INVALID_CONTEXT);
    }).join();
}

void illegal_call_during_capture() {
    Device device(source);
    const CUstream stream = new_stream();
    const auto y = device.allocate<float>(64);
    CUgraph graph;
    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    MUST(cuStreamEndCapture(stream, &graph));

    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    MUST(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64));
    EXPECT(cuStreamSynchronize(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EXPECT(device.launch("fill", {1, 64, 0, stream}, y, 2.0f, 64) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EXPECT(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EXPECT(cuStreamSynchronize(stream) == CUDA_SUCCESS);

    MUST(cuStreamBeginCapture_v2(stream, kCaptureThreadLocal));
    CUdeviceptr address;
    EXPECT(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EXPECT(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

CUresult launch_grid(Device& device, unsigned x, unsigned y, unsigned z) {
    CUdeviceptr address = device.allocate<float>(1);
    float value = 0;
    int n = 0;
    void* parameters[] = {&address, &value, &n};
    return cuLaunchKernel(device.kernel("fill"), x, y, z, 1, 1, 1, 0, nullptr, parameters, nullptr);
}

void grids_over_the_limit() {
    Device device(source);
    EXPECT(launch_grid(device, 1, 65535, 1) == CUDA_SUCCESS);
    EXPECT(launch_grid(device, 1, 65536, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch_grid(device, 1, 1, 65536) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch_grid(device, 0, 1, 1) == CUDA_ERROR_INVALID_VALUE);
}

void blocks_over_the_limit() {
    Device device(source);
    const auto y = device.allocate<float>(2048);
    EXPECT(device.launch("fill", {1, 1025}, y, 1.0f, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(device.run("bounded", {1, 64}, y) == CUDA_SUCCESS);
    EXPECT(device.launch("bounded", {1, 65}, y) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
}

// Dynamic shared memory over 48 KB must be asked for, and the device sets the limit.
void dynamic_shared_memory_over_the_limit(int minor, unsigned limit) {
    Device device(source, {minor, false, 1, 2});
    const auto y = device.allocate<float>(64);
    EXPECT(device.run("use_dynamic", {1, 64, 48 * 1024}, y) == CUDA_SUCCESS);
    EXPECT(device.launch("use_dynamic", {1, 64, 48 * 1024 + 4}, y) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncSetAttribute(device.kernel("use_dynamic"), kMaxDynamicSharedSize, static_cast<int>(limit) + 1) == CUDA_ERROR_INVALID_VALUE);
    MUST(cuFuncSetAttribute(device.kernel("use_dynamic"), kMaxDynamicSharedSize, static_cast<int>(limit)));
    EXPECT(device.run("use_dynamic", {1, 64, limit}, y) == CUDA_SUCCESS);
    EXPECT(device.launch("use_dynamic", {1, 64, limit + 4}, y) == CUDA_ERROR_INVALID_VALUE);
}

void shared_memory_of_sm_80() { dynamic_shared_memory_over_the_limit(0, 163 * 1024); }
void shared_memory_of_sm_86() { dynamic_shared_memory_over_the_limit(6, 99 * 1024); }

void arguments_of_the_wrong_size() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    struct { CUdeviceptr y; float value; int n; } packed{y, 3.0f, 64};
    size_t bytes = sizeof(packed);
    void* extra[] = {reinterpret_cast<void*>(1), &packed, reinterpret_cast<void*>(2), &bytes, nullptr};
    EXPECT(cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra) == CUDA_SUCCESS);
    EXPECT(device.download<float>(y, 64) == std::vector<float>(64, 3.0f));
    bytes -= 4;
    EXPECT(cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, extra) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchKernel(device.kernel("fill"), 1, 1, 1, 64, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

void a_fault_stays() {
    Device device(source);
    const auto y = device.allocate<float>(64);
    device.expect_fault(CUDA_ERROR_ILLEGAL_ADDRESS, {"kernel fill"}, "fill", {2}, y, 1.0f, 65);
    CUdeviceptr address;
    EXPECT(cuMemAlloc_v2(&address, 16) == CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    Device another(source);
    const auto z = another.allocate<float>(64);
    another.expect_success("fill", {1}, z, 1.0f, 64);
}

} // namespace

int main(int count, char** arguments) {
#define TEST(name) {#name, name}
    return run_tests({TEST(reading_before_the_work_is_done), TEST(staging_buffer_used_again_too_early), TEST(streams_without_an_event),
                      TEST(free_while_work_is_queued), TEST(no_current_context), TEST(illegal_call_during_capture), TEST(grids_over_the_limit),
                      TEST(blocks_over_the_limit), TEST(shared_memory_of_sm_80), TEST(shared_memory_of_sm_86), TEST(arguments_of_the_wrong_size),
                      TEST(a_fault_stays)},
                     count, arguments);
}
