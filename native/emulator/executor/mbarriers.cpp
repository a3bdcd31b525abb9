#include "executor/mbarriers.h"

#include "check/hooks.h"
#include "executor/block_runner.h"

namespace emu {

void Mbarriers::init(void* barrier, unsigned arrivals, const void* site) {
    if (arrivals == 0 || arrivals >= 1u << 20) _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an mbarrier of " + std::to_string(arrivals) + " arrivals", site);
    Mbarrier& state = _barriers[barrier];
    if (!state.waiting.empty()) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "an mbarrier is initialised while threads wait for it", site);
    state = {};
    state.expected = state.missing = arrivals;
    state.initialiser = emu_current->linear;
}

void Mbarriers::proxy_fence() {
    const unsigned self = emu_current->linear;
    for (auto& [barrier, state] : _barriers) state.fenced |= state.initialiser == self;
    if (_runner.watched()) check::proxy_fenced(_runner.checker(), self);
}

Mbarriers::Mbarrier& Mbarriers::find(void* barrier, const void* site) {
    auto found = _barriers.find(barrier);
    if (found == _barriers.end()) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "the address is not that of an initialised mbarrier", site);
    return found->second;
}

void Mbarriers::require_for_copies(void* barrier, const void* site) {
    if (!find(barrier, site).fenced)
        _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "a bulk copy names an mbarrier whose initialisation no fence has made known to the async proxy", site);
}

void Mbarriers::arrive(void* barrier, unsigned expected_bytes, const void* site) {
    Mbarrier& state = find(barrier, site);
    if (expected_bytes >= 1u << 20) _runner.fail(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an mbarrier counts fewer than 2^20 bytes in a phase", site);
    if (state.missing == 0) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "more arrivals at an mbarrier than its phase expects", site);
    if (_runner.watched()) check::released(_runner.checker(), reinterpret_cast<std::uint64_t>(barrier), emu_current->linear);
    state.bytes += expected_bytes;
    --state.missing;
    complete_if_due(barrier, state);
}

void Mbarriers::complete_bytes(void* barrier, unsigned bytes, unsigned thread) {
    Mbarrier& state = _barriers[barrier];
    if (_runner.watched()) check::released(_runner.checker(), reinterpret_cast<std::uint64_t>(barrier), thread);
    state.bytes -= bytes;
    complete_if_due(barrier, state);
}

void Mbarriers::complete_if_due(void* barrier, Mbarrier& state) {
    if (state.missing != 0 || state.bytes != 0) return;
    state.missing = state.expected;
    ++state.phase;
    if (_runner.watched()) check::phase_completed(_runner.checker(), reinterpret_cast<std::uint64_t>(barrier));
    for (const Waiting& waiting : state.waiting) _runner.resume(waiting.thread);
    state.waiting.clear();
}

void Mbarriers::wait(void* barrier, unsigned parity, const void* site) {
    Mbarrier& state = find(barrier, site);
    const auto under_way = [&] { return (state.phase & 1) == (parity & 1); };
    if (under_way()) _runner.bulk_copies().land(barrier);
    if (under_way()) {
        const std::uint64_t phase = state.phase;
        state.waiting.push_back({emu_current->linear, phase});
        _runner.suspend(Wait::Phase, 0, site);
        // A thread that comes late would wait for a phase that lies two ahead.
        if (_barriers[barrier].phase != phase + 1) _runner.fail(CUDA_ERROR_LAUNCH_FAILED, "the mbarrier has gone on by two phases while a thread waited for one", site);
    }
    if (_runner.watched()) check::acquired(_runner.checker(), reinterpret_cast<std::uint64_t>(barrier), emu_current->linear);
}

bool Mbarriers::waited_for(void* barrier) const {
    auto found = _barriers.find(barrier);
    return found != _barriers.end() && !found->second.waiting.empty();
}

std::string Mbarriers::describe_missing() const {
    std::string text;
    for (const auto& [barrier, state] : _barriers)
        if (!state.waiting.empty())
            text += (text.empty() ? "" : "; ") + std::to_string(state.missing) + " arrivals and " + std::to_string(state.bytes) + " bytes are missing for " +
                    std::to_string(state.waiting.size()) + " threads";
    return text;
}

} // namespace emu
