// The text of a fault: which thread of which block of which kernel, and on which line.
#include "check/worker.h"

#include "core/process.h"
#include "shim/abi.h"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <unistd.h>
#include <unordered_map>

namespace check {

namespace {

constexpr char kShimFolder[] = "griffin_emulator/";   // the emulator's own part of a kernel's module
std::mutex lines_mutex;
std::unordered_map<const void*, std::string> known_lines;

std::string index_text(Dim3 index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string take_line(std::string& text) {
    const size_t end = text.find('\n');
    std::string line = text.substr(0, end);
    text.erase(0, end == std::string::npos ? end : end + 1);
    return line;
}

std::string resolve(const void* site) {
    Dl_info module{};
    if (dladdr(site, &module) == 0 || module.dli_fname == nullptr) return {};
    std::string file = module.dli_fname;
    // Our own descriptor, as the child must name it.
    if (file.rfind("/proc/self/", 0) == 0) file = "/proc/" + std::to_string(getpid()) + file.substr(10);
    const u64 call = reinterpret_cast<u64>(site) - reinterpret_cast<u64>(module.dli_fbase) - 1;   // the site is where the call returns to
    char offset[32];
    snprintf(offset, sizeof(offset), "0x%llx", static_cast<unsigned long long>(call));
    std::string frames;
    if (emu::run_process({"addr2line", "-C", "-f", "-i", "-e", file, offset}, frames) != 0) return {};
    std::string innermost, function, kernel_line;
    while (!frames.empty()) {
        const std::string name = take_line(frames);
        std::string line = take_line(frames);
        if (line.find(":?") != std::string::npos || line.find(kShimFolder) != std::string::npos) continue;
        line = line.substr(line.rfind('/') + 1);
        line = line.substr(0, line.find(" ("));   // without "(discriminator 2)"
        if (line.empty() || line[0] == '?') continue;
        if (innermost.empty()) {
            innermost = line;
            function = name.substr(0, name.find_first_of("<("));   // "void load_vec<4, float>(…)"
            function = function.substr(function.rfind(' ') + 1);
        }
        if (kernel_line.empty() && line.find(".cu:") != std::string::npos) kernel_line = line;
    }
    if (kernel_line.empty() || kernel_line == innermost) return innermost;
    return kernel_line + " (" + function + ", " + innermost + ")";
}

} // namespace

std::string source_line(const void* site) {
    if (site == nullptr) return {};
    const std::lock_guard<std::mutex> lock(lines_mutex);
    const auto [entry, added] = known_lines.try_emplace(site);
    if (added) entry->second = resolve(site);
    return entry->second;
}

void forget_source_lines() {
    const std::lock_guard<std::mutex> lock(lines_mutex);
    known_lines.clear();
}

std::string thread_text(const Worker& worker, u32 thread) {
    const Dim3 size = worker.launch->info.block;
    if (const u32 threads = size.x * size.y * size.z; thread >= threads) return "of warpgroup " + std::to_string(thread - threads) + "'s product";
    return index_text({thread % size.x, thread / size.x % size.y, thread / size.x / size.y});
}

std::string where(const void* site) {
    const Worker* worker = current_worker;
    if (worker == nullptr || worker->launch == nullptr) return {};
    std::string text = std::string("kernel ") + worker->launch->info.kernel + ", block " + index_text(worker->block_index) + ", thread " +
                       thread_text(*worker, worker->thread);
    // A step is a function of its own: the kernel's line is where it called for the step.
    const std::string line = source_line(worker->in_step && emu_current != nullptr ? emu_current->site : site);
    return line.empty() ? text : text + ", " + line;
}

void fault(int result, const std::string& text, const void* site) {
    char kept[2048];   // the core leaves this stack without unwinding it
    snprintf(kept, sizeof(kept), "%s: %s", where(site).c_str(), text.c_str());
    emu::raise_fault(result, kept);
}

} // namespace check
