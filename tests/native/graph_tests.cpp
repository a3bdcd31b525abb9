// Capture records work instead of running it, graphs replay it, and calls that a real driver refuses during capture are refused.
#include "testing.h"

using namespace testing;

namespace {

constexpr int kGlobal = 0, kThreadLocal = 1, kRelaxed = 2;
constexpr unsigned kNonBlocking = 1;

const char* const kIncrement = R"(
__global__ void add(int* x, int value, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += value;
}
__global__ void twice(int* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= 2;
}
)";

struct Fixture {
    explicit Fixture(bool checked, uint64_t seed = 3)
        : device(checked, seed), add(device, kIncrement, "add"), twice(device, kIncrement, "twice"), data(std::vector<int>(100, 1)) {
        CHECK_RESULT(0, cuStreamCreate(&stream, kNonBlocking));
    }
    ~Fixture() { cuStreamDestroy_v2(stream); }
    CUresult launch_add(int value, CUstream on) const { return add.launch(on, 1, 128, 0, data.address, value, 100); }
    CUresult launch_twice(CUstream on) const { return twice.launch(on, 1, 128, 0, data.address, 100); }

    Device device;
    Kernel add, twice;
    Buffer<int> data;
    CUstream stream = nullptr;
};

void expect_invalidated(Fixture& f) {
    CUgraph graph = reinterpret_cast<CUgraph>(1);
    CHECK_RESULT(901, f.launch_add(1, f.stream));
    CHECK_RESULT(901, cuStreamEndCapture(f.stream, &graph));
    CHECK(graph == nullptr);
    int status = -1;
    CHECK_RESULT(0, cuStreamIsCapturing(f.stream, &status));
    CHECK(status == 0);
    CHECK_RESULT(0, f.launch_add(1, f.stream));
    CHECK_RESULT(0, cuStreamSynchronize(f.stream));
}

} // namespace

TEST_CASE("a captured sequence runs at each launch of its graph and not before") {
    for (bool checked : {false, true}) {
        Fixture f(checked);
        CUgraph graph = nullptr;
        CUgraphExec exec = nullptr;
        CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kThreadLocal));
        {
            int value = 5; // parameters are copied when the work is captured
            CHECK_RESULT(0, f.launch_add(value, f.stream));
            value = 77;
        }
        CHECK_RESULT(0, f.launch_twice(f.stream));
        CHECK_RESULT(0, cuStreamEndCapture(f.stream, &graph));
        CHECK_RESULT(0, cuGraphInstantiateWithFlags(&exec, graph, 0));
        CHECK_RESULT(0, cuGraphDestroy(graph));
        CHECK(f.data.read() == std::vector<int>(100, 1));
        CHECK_RESULT(0, cuGraphLaunch(exec, f.stream));
        CHECK_RESULT(0, cuGraphLaunch(exec, f.stream));
        CHECK_RESULT(0, cuStreamSynchronize(f.stream));
        CHECK(f.data.read() == std::vector<int>(100, 34));
        CHECK_RESULT(0, cuGraphExecDestroy(exec));
        CHECK_RESULT(400, cuGraphLaunch(exec, f.stream));
    }
}

TEST_CASE("events carry a capture into another stream and back") {
    for (bool checked : {false, true}) {
        Fixture f(checked);
        CUstream side = nullptr;
        CUevent fork = nullptr, join = nullptr;
        CHECK_RESULT(0, cuStreamCreate(&side, kNonBlocking));
        CHECK_RESULT(0, cuEventCreate(&fork, 2));
        CHECK_RESULT(0, cuEventCreate(&join, 2));
        CUgraph graph = nullptr;
        CUgraphExec exec = nullptr;
        CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kRelaxed));
        CHECK_RESULT(0, f.launch_add(1, f.stream));
        CHECK_RESULT(0, cuEventRecord(fork, f.stream));
        CHECK_RESULT(0, cuStreamWaitEvent(side, fork, 0));
        CHECK_RESULT(0, f.launch_twice(side));
        CHECK_RESULT(0, cuEventRecord(join, side));
        CHECK_RESULT(0, cuStreamWaitEvent(f.stream, join, 0));
        CHECK_RESULT(0, f.launch_add(10, f.stream));
        CHECK_RESULT(907, cuEventQuery(join));
        CHECK_RESULT(0, cuStreamEndCapture(f.stream, &graph));
        CHECK_RESULT(0, cuGraphInstantiateWithFlags(&exec, graph, 0));
        CHECK_RESULT(0, cuGraphLaunch(exec, f.stream));
        CHECK_RESULT(0, cuStreamSynchronize(f.stream));
        CHECK(f.data.read() == std::vector<int>(100, 14));
        CHECK_RESULT(0, cuGraphExecDestroy(exec));
        CHECK_RESULT(0, cuGraphDestroy(graph));
        CHECK_RESULT(0, cuEventDestroy_v2(fork));
        CHECK_RESULT(0, cuEventDestroy_v2(join));
        CHECK_RESULT(0, cuStreamDestroy_v2(side));
    }
}

TEST_CASE("a forked stream that does not join again is an error") {
    Fixture f(false);
    CUstream side = nullptr;
    CUevent fork = nullptr;
    CHECK_RESULT(0, cuStreamCreate(&side, kNonBlocking));
    CHECK_RESULT(0, cuEventCreate(&fork, 2));
    CUgraph graph = nullptr;
    CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kRelaxed));
    CHECK_RESULT(0, f.launch_add(1, f.stream));
    CHECK_RESULT(0, cuEventRecord(fork, f.stream));
    CHECK_RESULT(0, cuStreamWaitEvent(side, fork, 0));
    CHECK_RESULT(0, f.launch_twice(side));
    CHECK_RESULT(904, cuStreamEndCapture(f.stream, &graph));
    CHECK(graph == nullptr);
    CHECK_RESULT(0, cuEventDestroy_v2(fork));
    CHECK_RESULT(0, cuStreamDestroy_v2(side));
}

TEST_CASE("allocating during a thread-local capture fails and invalidates it") {
    Fixture f(false);
    CUdeviceptr memory = 0;
    CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kThreadLocal));
    CHECK_RESULT(900, cuMemAlloc_v2(&memory, 256));
    expect_invalidated(f);
}

TEST_CASE("freeing, waiting and synchronous copies during a capture fail and invalidate it") {
    for (int what = 0; what < 5; ++what) {
        Fixture f(false);
        Buffer<int> other(4);
        int host[4] = {};
        CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kGlobal));
        switch (what) {
        case 0: CHECK_RESULT(900, cuMemFree_v2(other.address)); break;
        case 1: CHECK_RESULT(900, cuStreamSynchronize(f.stream)); break;
        case 2: CHECK_RESULT(900, cuCtxSynchronize()); break;
        case 3: CHECK_RESULT(900, cuMemcpyDtoH_v2(host, other.address, sizeof(host))); break;
        case 4: CHECK_RESULT(900, cuStreamQuery(f.stream)); break;
        }
        expect_invalidated(f);
    }
}

TEST_CASE("a relaxed capture lets other calls pass") {
    Fixture f(false);
    CUdeviceptr memory = 0;
    CUgraph graph = nullptr;
    CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kRelaxed));
    CHECK_RESULT(0, cuMemAlloc_v2(&memory, 256));
    CHECK_RESULT(0, cuMemFree_v2(memory));
    CHECK_RESULT(0, f.launch_add(1, f.stream));
    CHECK_RESULT(0, cuStreamEndCapture(f.stream, &graph));
    CHECK_RESULT(0, cuGraphDestroy(graph));
}

TEST_CASE("work of the legacy stream is illegal while a blocking stream is captured") {
    Fixture f(false);
    CUstream blocking = nullptr;
    CUgraph graph = nullptr;
    CHECK_RESULT(0, cuStreamCreate(&blocking, 0));
    CHECK_RESULT(0, cuStreamBeginCapture_v2(blocking, kRelaxed));
    CHECK_RESULT(906, f.launch_add(1, nullptr));
    CHECK_RESULT(901, cuStreamEndCapture(blocking, &graph));
    CHECK_RESULT(0, cuStreamDestroy_v2(blocking));
}

TEST_CASE("a captured stream does not wait for work outside the capture") {
    Fixture f(false);
    CUevent event = nullptr;
    CUgraph graph = nullptr;
    CHECK_RESULT(0, cuEventCreate(&event, 2));
    CHECK_RESULT(0, cuEventRecord(event, f.stream));
    CHECK_RESULT(0, cuStreamBeginCapture_v2(f.stream, kRelaxed));
    CHECK_RESULT(905, cuStreamWaitEvent(f.stream, event, 0));
    CHECK_RESULT(901, cuStreamEndCapture(f.stream, &graph));
    CHECK_RESULT(0, cuEventDestroy_v2(event));
}
