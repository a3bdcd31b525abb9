// The seam of check/hooks.h without a checker.
#include "check/hooks.h"

#include "core/process.h"
#include "executor/block_runner.h"

#include <dlfcn.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace check {

namespace {
std::mutex mutex;
std::map<std::uint64_t, Allocation> live;
}

struct Worker { unsigned char* shared; };
class Launch {};

std::uint64_t allocate(std::uint64_t bytes, int device, bool) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return 0;
    auto address = reinterpret_cast<std::uint64_t>(p);
    std::lock_guard<std::mutex> lock(mutex);
    live[address] = {address, bytes, device};
    return address;
}
bool release(std::uint64_t address) {
    std::lock_guard<std::mutex> lock(mutex);
    auto e = live.find(address);
    if (e == live.end()) return false;
    munmap(reinterpret_cast<void*>(address), e->second.bytes);
    live.erase(e);
    return true;
}
bool find_allocation(std::uint64_t address, Allocation* found) {
    std::lock_guard<std::mutex> lock(mutex);
    auto e = live.upper_bound(address);
    if (e == live.begin()) return false;
    --e;
    if (address >= e->first + e->second.bytes) return false;
    *found = e->second;
    return true;
}
bool check_rows(int, std::uint64_t address, std::uint64_t rows, std::uint64_t row_bytes, std::uint64_t stride, const char* what, std::string* text) {
    Allocation a;
    if (rows == 0 || row_bytes == 0) return true;
    if (find_allocation(address, &a) && address + (rows - 1) * stride + row_bytes <= a.address + a.bytes) return true;
    *text = std::string(what) + " is outside every allocation";
    return false;
}
bool check_rows_initialised(int d, std::uint64_t a, std::uint64_t r, std::uint64_t b, std::uint64_t s, const char* w, std::string* t) {
    return check_rows(d, a, r, b, s, w, t);
}
void mark_initialised(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t) {}
void copy_initialised(std::uint64_t, std::uint64_t, std::uint64_t) {}
Launch* begin_launch(const LaunchInfo&) { return nullptr; }
void end_launch(Launch*, bool) {}
Worker* create_worker() {
    void* p = mmap(nullptr, SharedArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return new Worker{static_cast<unsigned char*>(p)};
}
void destroy_worker(Worker* worker) {
    munmap(worker->shared, SharedArenaBytes);
    delete worker;
}
void use_worker(Worker*) {}
unsigned char* shared_arena(Worker* worker) { return worker->shared; }
void allow_plain_range(const void*, std::uint64_t) {}
void forget_plain_range(const void*) {}
void begin_block(Worker*, Launch*, Dim3) {}
void add_shared_array(Worker*, const void*, std::uint32_t, const char*) {}
void end_block(Worker*) {}
void set_thread(Worker*, std::uint32_t) {}
void barrier_passed(Worker*) {}
void warp_met(Worker*, std::uint32_t, std::uint32_t, bool) {}
void begin_step(Worker*) {}
void end_step(Worker*) {}
void note_access(std::uint32_t, const void*, std::uint32_t, bool, const void*) {}
void async_issued(void*, const void*, std::uint32_t, std::uint32_t, const void*) {}
void async_landed(Worker*, std::uint32_t, void*, std::uint32_t) {}
void count_matrix_ops(std::uint64_t) {}

std::string source_line(const void* site) {
    Dl_info info{};
    if (!site || !dladdr(const_cast<void*>(site), &info) || !info.dli_fname) return {};
    std::string file = info.dli_fname;
    if (file.rfind("/proc/self/", 0) == 0) file = "/proc/" + std::to_string(getpid()) + file.substr(10);
    char offset[32];
    snprintf(offset, sizeof(offset), "0x%zx", reinterpret_cast<size_t>(site) - reinterpret_cast<size_t>(info.dli_fbase) - 1);
    std::string output;
    if (emu::run_process({"addr2line", "-i", "-e", file, offset}, output) != 0) return {};
    while (!output.empty() && output.back() == '\n') output.pop_back();
    for (char& c : output) if (c == '\n') c = '|';
    return output;
}
std::string where(const void* site) {
    const emu::BlockRunner& runner = *emu::BlockRunner::current();
    auto triple = [](EmuDim d) { return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")"; };
    return std::string("kernel ") + runner.launch().kernel + ", block " + triple(runner.block().index) + ", thread " +
           triple(emu_current->index) + ", " + source_line(site);
}

} // namespace check
