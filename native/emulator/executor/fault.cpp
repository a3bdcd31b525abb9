#include "executor/fault.h"

#include "check/hooks.h"
#include "executor/block_runner.h"

namespace emu {

std::string describe_dim(EmuDim value) {
    return "(" + std::to_string(value.x) + ", " + std::to_string(value.y) + ", " + std::to_string(value.z) + ")";
}

bool same_site(const void* first, const void* second) {
    if (first == second) return true;
    std::string line = check::source_line(first);
    return !line.empty() && line == check::source_line(second);
}

std::string describe_site(const void* site) {
    std::string line = check::source_line(site);
    return line.empty() ? "an unknown line" : line;
}

void raise_fault(int result, const char* text) { BlockRunner::current()->abandon(static_cast<CUresult>(result), text); }

} // namespace emu
