// The access counters against counts made by hand.
#include "planted_faults.h"

#include "check/counters.h"

#include <cstring>

using namespace testing;

namespace {

const Program program(R"cuda(
struct alignas(16) Four { float v[4]; };

extern "C" __global__ void copy(float* y, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];
}

extern "C" __global__ void copy_strided(float* y, const float* x, int stride) {
    y[threadIdx.x] = x[threadIdx.x * stride];
}

extern "C" __global__ void copy_four(Four* y, const Four* x) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    Four value;
    typedef float Vector __attribute__((vector_size(16), may_alias));
    *reinterpret_cast<Vector*>(&value) = *reinterpret_cast<const Vector*>(x + i);
    *reinterpret_cast<Vector*>(y + i) = *reinterpret_cast<const Vector*>(&value);
}

extern "C" __global__ void twice(float* y, const volatile float* x) {
    y[threadIdx.x] = x[threadIdx.x] + x[threadIdx.x];
}

extern "C" __global__ void all_read_one(float* y, const float* x) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = x[0];
}

extern "C" __global__ void count(int* y) {
    atomicAdd(y, 1);
}

extern "C" __global__ void transpose(float* y, const float* x, int pitch) {
    extern __shared__ float tile[];
    int t = threadIdx.x;
    for (int row = 0; row < 32; ++row) tile[row * pitch + t] = x[row * 32 + t];
    __syncthreads();
    for (int row = 0; row < 32; ++row) y[row * 32 + t] = tile[t * pitch + row];
}

extern "C" __global__ void multiply(float* y) {
    if (threadIdx.x == 0) emu::count_matrix_ops(16 * 8 * 16);
    y[threadIdx.x] = 0.0f;
}
)cuda");

// The records of everything that ran on the device.
std::vector<GriffinEmuLaunchRecord> take(const Device& device) {
    MUST(cuCtxSynchronize());
    std::vector<GriffinEmuLaunchRecord> records(static_cast<size_t>(griffinEmuCountersTake(device.ordinal(), nullptr, 0)));
    const int taken = griffinEmuCountersTake(device.ordinal(), records.data(), static_cast<int>(records.size()));
    CHECK(taken == static_cast<int>(records.size()));
    CHECK(griffinEmuCountersTake(device.ordinal(), nullptr, 0) == 0);
    return records;
}

GriffinEmuLaunchRecord take_one(const Device& device) {
    const auto records = take(device);
    if (records.size() != 1) {
        report(false, __FILE__, __LINE__, std::to_string(records.size()) + " records instead of 1");
        return {};
    }
    return records[0];
}

GriffinEmuAllocationRecord of(const GriffinEmuLaunchRecord& record, CUdeviceptr address) {
    for (uint32_t i = 0; i < record.allocation_count; ++i)
        if (record.allocations[i].address == address) return record.allocations[i];
    report(false, __FILE__, __LINE__, "no counts for the allocation");
    return {};
}

void expect_counts(const char* what, const GriffinEmuAllocationRecord& counts, std::vector<uint64_t> reads, std::vector<uint64_t> writes) {
    const std::vector<uint64_t> read = {counts.bytes_read, counts.request_sectors_read, counts.sectors_read};
    const std::vector<uint64_t> written = {counts.bytes_written, counts.request_sectors_written, counts.sectors_written};
    const auto text = [](const std::vector<uint64_t>& values) {
        std::string joined;
        for (const uint64_t value : values) joined += std::to_string(value) + " ";
        return joined;
    };
    if (read != reads)
        report(false, __FILE__, __LINE__, std::string(what) + " read: " + text(read) + "instead of " + text(reads));
    if (written != writes)
        report(false, __FILE__, __LINE__, std::string(what) + " written: " + text(written) + "instead of " + text(writes));
}

const std::vector<uint64_t> kNone = {0, 0, 0};

// 1000 elements of 4 bytes: 125 sectors, 31 full warps and one of 8 lanes.
TEST_CASE("contiguous") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(1000, 1.0f)), y = device.allocate<float>(1000);
    CHECK_SUCCESS(device.run("copy", {8, 128}, y, x, 1000));
    const auto record = take_one(device);
    CHECK(strcmp(record.kernel, "copy") == 0);
    CHECK(record.grid[0] == 8 && record.block[0] == 128 && record.allocation_count == 2);
    CHECK(of(record, x).bytes == 4000);
    expect_counts("x", of(record, x), {4000, 125, 125}, kNone);
    expect_counts("y", of(record, y), kNone, {4000, 125, 125});
}

// Every lane in a sector of its own, then two lanes to a sector.
TEST_CASE("strided") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(64 * 8, 1.0f)), y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("copy_strided", {}, y, x, 8));
    expect_counts("x", of(take_one(device), x), {256, 64, 64}, kNone);
    CHECK_SUCCESS(device.run("copy_strided", {}, y, x, 4));
    expect_counts("x", of(take_one(device), x), {256, 32, 32}, kNone);
}

TEST_CASE("vectors") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(512, 1.0f)), y = device.allocate<float>(512);
    CHECK_SUCCESS(device.run("copy_four", {2, 64}, y, x));
    const auto record = take_one(device);
    expect_counts("x", of(record, x), {2048, 64, 64}, kNone);
    expect_counts("y", of(record, y), kNone, {2048, 64, 64});
}

// Two instructions are two requests, whatever they read.
TEST_CASE("read twice") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(64, 1.0f)), y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("twice", {}, y, x));
    expect_counts("x", of(take_one(device), x), {512, 16, 8}, kNone);
}

// One sector for each of the 8 warps.
TEST_CASE("broadcast") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(64, 1.0f)), y = device.allocate<float>(256);
    CHECK_SUCCESS(device.run("all_read_one", {4, 64}, y, x));
    expect_counts("x", of(take_one(device), x), {1024, 8, 1}, kNone);
}

TEST_CASE("atomics") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto y = device.upload(std::vector<int>(1));
    CHECK_SUCCESS(device.run("count", {2, 64}, y));
    expect_counts("y", of(take_one(device), y), {512, 4, 1}, {512, 4, 1});
}

// Columns of a 32-wide tile all lie in one bank; a pitch of 33 spreads them.
TEST_CASE("bank conflicts") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(1024, 1.0f)), y = device.allocate<float>(1024);
    CHECK_SUCCESS(device.run("transpose", {1, 32, 32 * 33 * 4}, y, x, 32));
    CHECK_SUCCESS(device.run("transpose", {1, 32, 32 * 33 * 4}, y, x, 33));
    const auto records = take(device);
    CHECK(records.size() == 2);
    if (records.size() != 2) return;
    CHECK(records[0].bank_conflicts == 32 * 31);
    CHECK(records[1].bank_conflicts == 0);
    for (const auto& record : records) {
        CHECK(record.barriers == 1);
        CHECK(record.shared_bytes_read == 4096 && record.shared_bytes_written == 4096);
        CHECK(record.dynamic_shared_bytes == 32 * 33 * 4);
        expect_counts("x", of(record, x), {4096, 128, 128}, kNone);
    }
}

TEST_CASE("matrix operations") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto y = device.allocate<float>(64);
    CHECK_SUCCESS(device.run("multiply", {3, 16}, y));
    CHECK(take_one(device).matrix_multiply_adds == 3 * 16 * 8 * 16);
}

TEST_CASE("the same for every order") {
    std::vector<GriffinEmuAllocationRecord> first;
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        const CheckedDevice device(program, seed, 0, static_cast<int>(seed % 2) + 1, true);
        const auto x = device.upload(std::vector<float>(100000, 1.0f)), y = device.allocate<float>(100000);
        CHECK_SUCCESS(device.run("copy", {391, 256}, y, x, 99991));
        const auto record = take_one(device);
        std::vector<GriffinEmuAllocationRecord> counts = {of(record, x), of(record, y)};
        for (auto& count : counts) count.address = 0;
        if (first.empty()) first = counts;
        CHECK(memcmp(first.data(), counts.data(), 2 * sizeof(counts[0])) == 0);
    }
}

TEST_CASE("faulted launches leave no record") {
    const CheckedDevice device(program, 1, 0, 2, true);
    const auto x = device.upload(std::vector<float>(64, 1.0f)), y = device.allocate<float>(64);
    CHECK_FAULT(kIllegalAddress, ({"kernel copy"}),
                device.run("copy", {2}, y, x, 65));
    CHECK(griffinEmuCountersTake(device.ordinal(), nullptr, 0) == 0);
}

// Counting alone: the same numbers, without deferring or shuffling.
TEST_CASE("a device that counts but is not checked") {
    const std::string& image = program.image(CheckedDevice(program));
    const Device device(false, 1, 0, 2, 0, true);
    CUmodule module;
    CUfunction function;
    MUST(cuModuleLoadData(&module, image.data()));
    MUST(cuModuleGetFunction(&function, module, "copy"));
    const Buffer<float> x(std::vector<float>(1000, 1.0f)), y(1000);
    CUdeviceptr to = y.address, from = x.address;
    int n = 1000;
    void* parameters[] = {&to, &from, &n};
    CHECK_SUCCESS(cuLaunchKernel(function, 8, 1, 1, 128, 1, 1, 0, nullptr, parameters, nullptr));
    const auto record = take_one(device);
    expect_counts("x", of(record, x.address), {4000, 125, 125}, kNone);
    expect_counts("y", of(record, y.address), kNone, {4000, 125, 125});
}

} // namespace
